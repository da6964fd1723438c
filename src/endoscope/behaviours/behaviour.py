"""Behaviours: what a model does, written down so that it can be measured."""

from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from endoscope import jsonl
from endoscope.behaviours.item import Item
from endoscope.behaviours.scorers import AnyScorer
from endoscope.errors import InputError
from endoscope.yamls import yaml_mapping

_SHIPPED = files("endoscope.behaviours") / "specs"
_EXAMPLE = "`endoscope behaviours show sea` prints a spec."


class Behaviour(BaseModel):
    """A behaviour and how it is measured.

    Args:
        name: what people call it.
        description: what the model does that has the behaviour, in a sentence.
        items: what the model is given.
        controls: items of which the behaviour is not expected; what they score is subtracted.
        scorer: how much of the behaviour there is in what the model does with an item.
        cut: an item that scores this or more shows the behaviour: the tail is counted from here.

    Example:
        >>> Behaviour.load("sea").scorer.kind
        'check'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[^/\\]+$")
    description: str = Field(min_length=1)
    items: tuple[Item, ...] = Field(min_length=1)
    controls: tuple[Item, ...] = ()
    scorer: AnyScorer
    cut: float = 0.5

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_ids(self.items, "items")
        _check_ids(self.controls, "controls")
        known = {item.id for item in self.controls}
        matched = [item for item in self.items if item.control is not None]
        if any(item.control not in known for item in matched):
            raise ValueError("an item names a control that is not among the controls")
        if matched and len(matched) < len(self.items):
            raise ValueError("some items name a control and some do not")
        for item in (*self.items, *self.controls):
            if (problem := self.scorer.problem(item)) is not None:
                raise ValueError(f"item {item.id}: {problem}")
        return self

    @property
    def matched(self) -> bool:
        """Whether every item names its control."""
        return self.items[0].control is not None

    @property
    def sha256(self) -> str:
        """The hash of everything that decides what is measured."""
        return sha256(self.model_dump_json().encode()).hexdigest()

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """Read a behaviour.

        `items` and `controls` are lists, or the name of a file of JSON lines beside the spec.

        Args:
            name: one that comes with Endoscope (`"sea"`), or the path of a YAML file.

        Raises:
            InputError: there is none, or it is not valid; says which key and why.
        """
        path = shipped_behaviours().get(str(name), Path(name))
        content = _read_yaml(path)
        for key in ("items", "controls"):
            if isinstance(content.get(key), str):
                content[key] = read_items(path.parent / content[key])
        try:
            return cls.model_validate({"name": path.stem, **content})
        except ValidationError as error:
            raise InputError(f"{path.name}: {_explain(error)}", _EXAMPLE) from None

    def to_yaml(self) -> str:
        """Return the spec, whole, as `load` reads it."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)

    def __repr__(self) -> str:
        controls = f", {len(self.controls):,} controls" if self.controls else ""
        return (
            f"Behaviour({self.name!r}: {len(self.items):,} items{controls}, "
            f"scored by {self.scorer.kind})"
        )

    __str__ = __repr__


def shipped_behaviours() -> dict[str, Path]:
    """Return the behaviours that come with Endoscope: name to file."""
    return {
        Path(entry.name).stem: Path(str(entry))
        for entry in sorted(_SHIPPED.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def shipped_prompts(name: str) -> list[str]:
    """Return the prompts of a list that comes with Endoscope (`"neutral"`, `"everyday"`)."""
    return [str(one["prompt"]) for one in read_items(Path(str(_SHIPPED / f"{name}.jsonl")))]


def read_items(path: Path) -> list[dict[str, Any]]:
    """Read items from a file of JSON lines, to be checked by `Behaviour`.

    Raises:
        InputError: the file cannot be read, or a line is no JSON object; names the line.
    """
    rows = []
    for number, line in jsonl.numbered(jsonl.read_bytes(path)):
        with jsonl.on_line(path, number):
            rows.append(jsonl.json_object(line))
    return rows


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(shipped_behaviours())
        raise InputError(
            f"There is no behaviour {path}: {error.strerror}.",
            f"Give the path of a YAML file, or one of: {known}.",
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text.") from error
    return yaml_mapping(source, path, "a behaviour", _EXAMPLE)


def _check_ids(items: Sequence[Item], what: str) -> None:
    if len({item.id for item in items}) != len(items):
        raise ValueError(f"two of the {what} have the same id")


def _explain(error: ValidationError) -> str:
    """Say in one line which key is wrong and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = list(first["loc"])
    # pydantic adds which scorer and which check it took: their kinds are no keys
    for key, tag in (("scorer", 1), ("check", 2)):
        if len(place) > tag and place[tag - 1] == key:
            del place[tag]
    where = ".".join(map(str, place))
    reason = first["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}." if where else f"{reason}."
