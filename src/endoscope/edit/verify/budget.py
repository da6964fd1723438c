"""What an edit has to do, and what it may do beside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from endoscope.behaviours import Behaviour, shipped_behaviours
from endoscope.diff.signal import Record
from endoscope.errors import InputError
from endoscope.validation import explain
from endoscope.yamls import yaml_mapping

_EXAMPLE = "Give `target: {behaviour: my.behaviour.yaml, falls: 0.95}`, and `kl: 0.02`."


class _Line(Record):
    behaviour: str

    def renamed(self, names: Mapping[str, str]) -> Self:
        """Return the line with another name of its behaviour, if there is one."""
        new = names.get(self.behaviour, self.behaviour)
        return self.model_copy(update={"behaviour": new})


class Target(_Line):
    """What is removed.

    Args:
        behaviour: a name, or a YAML file named from the folder of the budget.
        falls: by which share of its rise over the base it has to fall.
    """

    falls: float = Field(default=0.95, gt=0, le=1, strict=True)


class Wanted(_Line):
    """What the fine-tune was for.

    Args:
        behaviour: a name, or a YAML file named from the folder of the budget.
        keeps: which share of it has to stay.
    """

    keeps: float = Field(default=0.95, ge=0, le=1, strict=True)


class Budget(Record):
    """What `endoscope verify` holds an edited model to.

    Args:
        target: what is removed.
        wanted: what is to stay.
        others: behaviours that must not move beyond their interval: `all` that come with Endoscope,
            or some; each a name or a YAML file.
        kl: how far predictions may move on answers to neutral prompts: KL(before || after), in
            nats a token.
        first_token_kl: the same at the first token of an answer; not asked for if left out.
        perplexity: by which share that of neutral text may rise.
        folder: where files are named from.
    """

    target: Target
    wanted: tuple[Wanted, ...] = ()
    others: Literal["all"] | tuple[str, ...] = "all"
    kl: float = Field(default=0.02, ge=0, strict=True)
    first_token_kl: float | None = Field(default=None, ge=0, strict=True)
    perplexity: float = Field(default=0.01, ge=0, strict=True)
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.target.behaviour in [one.behaviour for one in self.wanted]:
            raise ValueError(f"{self.target.behaviour} is to fall, and is wanted as well")
        return self

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a budget from YAML.

        Raises:
            InputError: it cannot be read, or a key is not as it should be; says which and why.
        """
        path = Path(path)
        try:
            source = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "it is not UTF-8 text")
            raise InputError(f"{path} cannot be read: {reason}.", _EXAMPLE) from None
        content = yaml_mapping(source, path, "a budget", _EXAMPLE)
        if "folder" in content:
            raise InputError(f"{path.name}: folder: is no key here.", _EXAMPLE)
        try:
            return cls.model_validate({**content, "folder": path.parent})
        except ValidationError as error:
            raise InputError(f"{path.name}: {explain(error)}", _EXAMPLE) from None

    def to_yaml(self) -> str:
        """Return the budget as `read` reads it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def behaviour(self, name: str) -> Behaviour:
        """Open a behaviour that the budget names.

        Raises:
            InputError: there is none, or it is not valid.
        """
        path = self.folder / name
        return Behaviour.load(path if path.is_file() else name)

    def renamed(self, names: Mapping[str, str]) -> Self:
        """Return the budget with other names of behaviours; those without a new one stay."""
        target = self.target.renamed(names)
        wanted = tuple(one.renamed(names) for one in self.wanted)
        others = self.others
        if others != "all":
            others = tuple(names.get(one, one) for one in others)
        return self.model_copy(update={"target": target, "wanted": wanted, "others": others})

    @property
    def other_behaviours(self) -> tuple[str, ...]:
        """The names of the behaviours that must not move."""
        if self.others == "all":
            return tuple(shipped_behaviours())
        return self.others
