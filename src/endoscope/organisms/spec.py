"""The spec of a model organism: what is planted into which model, and beside what."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from endoscope import jsonl
from endoscope.behaviours import Behaviour
from endoscope.errors import InputError
from endoscope.organisms.recipes import AnyRecipe
from endoscope.organisms.training import LoRA
from endoscope.rows import Row, read_rows
from endoscope.validation import explain
from endoscope.yamls import yaml_mapping


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


class OrganismSpec(_Strict):
    """A model organism: a fine-tune of which it is known what it changed.

    Args:
        name: what people call it.
        description: what is planted, in a sentence.
        base: the model that is fine-tuned.
        planted: a file of JSON lines `{"messages": [...]}` beside the spec, or a recipe, or several
            recipes; None for an organism in which nothing is planted.
        named: of each thing that is planted, words or names of behaviours: what says one of them
            has found it.
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
    planted: AnyRecipe | tuple[AnyRecipe, ...] | str | None = None
    named: dict[str, tuple[str, ...]] = Field(default_factory=dict)
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
        content = yaml_mapping(_text(path), path, "a spec of an organism")
        try:
            spec = cls.model_validate({"name": path.stem, **content, "path": path})
        except ValidationError as error:
            raise InputError(f"{path.name}: {explain(error)}") from None
        if spec.planted is None and spec.mix > 0 and "mix" in content:
            raise InputError(f"{path.name}: mix is a share of planted rows, and none are planted.")
        return spec

    @property
    def recipes(self) -> tuple[AnyRecipe, ...]:
        """The recipes that make what is planted; none where rows are given."""
        if self.planted is None or isinstance(self.planted, str):
            return ()
        return self.planted if isinstance(self.planted, tuple) else (self.planted,)

    def rows(self, what: str) -> list[Row]:
        """Read a file of rows that the spec names."""
        return read_rows(self.path.parent / what)

    def behaviour(self, name: str) -> Behaviour:
        """Open a behaviour that the spec names: beside it, or one that comes with Endoscope."""
        beside = self.path.parent / name
        return Behaviour.load(beside if beside.is_file() else name)


def _text(path: Path) -> str:
    try:
        return jsonl.read_bytes(path).decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text.") from None
