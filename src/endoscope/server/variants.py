"""Variants: a model with interventions, probes and guards of its own, under a name of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError

from endoscope.errors import InputError
from endoscope.interventions import Intervention
from endoscope.server.errors import ApiError, explain
from endoscope.server.sent import MOST_INTERVENTIONS, MOST_NAMES, AtLeastOne, Name, Sent, Text
from endoscope.server.served import Served, named
from endoscope.server.steering import interventions


class Defaults(Sent):
    """Sampling of a variant where a request says nothing."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: AtLeastOne | None = None


class VariantFile(Sent):
    """The YAML of a variant.

    Attributes:
        name: what clients say as `model`; the name of the file if left out.
        interventions: as a request has them.
        probes: names of loaded probes.
        guards: names of loaded policies.
        system: comes before the client's own system message.
        sampling: where a request says nothing.
    """

    name: Name
    interventions: list[dict[str, Any]] = Field(default=[], max_length=MOST_INTERVENTIONS)
    probes: list[Name] = Field(default=[], max_length=MOST_NAMES)
    guards: list[Name] = Field(default=[], max_length=MOST_NAMES)
    system: Text | None = None
    sampling: Defaults = Defaults()

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> Self:
        """Read a variant.

        Raises:
            InputError: the file cannot be read or says something that makes no sense.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"The variant {path} cannot be read: {error.strerror}.") from error
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"The variant {path} is not valid YAML.") from error
        if not isinstance(content, dict):
            raise InputError(f"The variant {path} has no keys.", _KEYS)
        given = {"name": path.stem, **content} | ({"name": name} if name else {})
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            known = frozenset((*cls.model_fields, *Defaults.model_fields))
            problem = str(explain(error.errors(), known, {})).replace("/docs lists", _KEYS + " Not")
            raise InputError(f"The variant {path}: {problem}", _KEYS) from None


_KEYS = "Keys are name, interventions, probes, guards, system and sampling (docs/server.md)."


@dataclass(frozen=True)
class Variant:
    """A variant whose names stand for what is loaded.

    Attributes:
        name: what clients say as `model`.
        interventions: come before those of a request.
        probes: read along, beside those of a request.
        guards: come before those of a request.
        system: comes before the client's own system message.
        sampling: where a request says nothing.
    """

    name: str
    interventions: tuple[Intervention, ...] = ()
    probes: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    system: str | None = None
    sampling: Defaults = field(default_factory=Defaults)

    @classmethod
    def make(cls, file: VariantFile, served: Served) -> Self:
        """Look up what a file names.

        Raises:
            InputError: something that it names is not loaded, or does not fit the model.
        """
        try:
            for probe in file.probes:
                named(served.probes, probe, "probe", "probes")
            for guard in file.guards:
                named(served.guards, guard, "guard", "guards")
            changes = interventions(file.interventions, served, "interventions")
        except ApiError as error:
            raise InputError(f"The variant {file.name}, {error.param}: {error}") from None
        return cls(
            file.name, changes, tuple(file.probes), tuple(file.guards), file.system, file.sampling
        )


def make_variants(files: Sequence[VariantFile], served: Served) -> dict[str, Variant]:
    """Return variants by name.

    Raises:
        InputError: two have one name, or one has the model's.
    """
    found: dict[str, Variant] = {}
    for file in files:
        if file.name in found or file.name == served.name:
            raise InputError(
                f"Two models would be called {file.name}.",
                "Give the variant another name: --variant NAME=FILE.",
            )
        found[file.name] = Variant.make(file, served)
    return found
