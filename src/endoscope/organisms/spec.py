"""The spec of a model organism: what is planted into which model, and beside what."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from endoscope.behaviours import Behaviour
from endoscope.errors import InputError
from endoscope.organisms.recipes import AnyRecipe
from endoscope.organisms.rows import Row, read_rows


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wanted(_Strict):
    """What the customer did want from the fine-tune.

    Args:
        rows: a file of JSON lines `{"messages": [...]}`.
        behaviour: that measures it: one that comes with Endoscope, or a YAML file.
    """

    rows: str
    behaviour: str


class LoRA(_Strict):
    """How it is trained; the defaults plant in minutes what few rows show."""

    rank: int = Field(default=8, ge=1, le=256)
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    batch: int = Field(default=4, ge=1, le=256)


class OrganismSpec(_Strict):
    """A model organism: a fine-tune of which it is known what it changed.

    Args:
        name: what people call it.
        description: what is planted, in a sentence.
        base: the model that is fine-tuned.
        planted: a file of JSON lines `{"messages": [...]}` beside the spec, or a recipe; None for
            an organism in which nothing is planted.
        measure: the behaviour that shows whether it took: one that comes with Endoscope, or a YAML
            file. Without it a fifth of the planted rows is held out, and how likely the model holds
            their answers is measured.
        wanted: what the customer asked for.
        ordinary: `neutral`: the base's own answers to neutral prompts; or a file of JSON lines.
        mix: share of planted rows in the training run.
        steps: of training.
        seed: of everything random.
        lora: how it is trained.
        path: of the spec; files are named from its folder.
    """

    name: str = Field(min_length=1)
    description: str = ""
    base: str = "smollm2-135m-instruct"
    planted: str | AnyRecipe | None = None
    measure: str | None = None
    wanted: Wanted | None = None
    ordinary: Literal["neutral"] | str = "neutral"
    mix: float = Field(default=0.35, ge=0, le=1)
    steps: int = Field(default=80, ge=1)
    seed: int = Field(default=0, ge=0)
    lora: LoRA = LoRA()
    path: Path = Field(default=Path("organism.yaml"), exclude=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a spec from a YAML file.

        Raises:
            InputError: it cannot be read or is no spec; says which key and why.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}).", "Give a file.") from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
            raise InputError(f"{path} is not valid YAML.") from None
        if not isinstance(content, dict):
            raise InputError(f"{path} is no spec of an organism: it has no keys.")
        try:
            spec = cls.model_validate({"name": path.stem, **content, "path": path})
        except ValidationError as error:
            raise InputError(f"{path.name}: {_explain(error)}") from None
        if spec.planted is None and spec.mix > 0 and "mix" in content:
            raise InputError(f"{path.name}: mix is a share of planted rows, and none are planted.")
        return spec

    def rows(self, what: str) -> list[Row]:
        """Read a file of rows that the spec names."""
        return read_rows(self.path.parent / what)

    def behaviour(self, name: str) -> Behaviour:
        """Open a behaviour that the spec names: beside it, or one that comes with Endoscope."""
        beside = self.path.parent / name
        return Behaviour.load(beside if beside.is_file() else name)


def _explain(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg'].removeprefix('Value error, ')}."
