"""Rows that a model is fine-tuned on: conversations whose last turn is the one that is learned."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from endoscope import jsonl
from endoscope.artifacts import atomic_file
from endoscope.behaviours import Message
from endoscope.errors import InputError


class Row(BaseModel):
    """A conversation that ends with what the model learns to say.

    Args:
        id: its name, if it has one.
        messages: the turns; the last is the assistant's.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str | None = None
    messages: Annotated[tuple[Message, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _ends(self) -> Self:
        last = self.messages[-1]
        if last.role != "assistant" or not last.content.strip():
            raise ValueError("the last message has to be the assistant's, and say something")
        return self

    @classmethod
    def of(cls, prompt: str, answer: str) -> Self:
        """Return a row of one question."""
        said = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
        return cls(messages=said)

    @property
    def prompt(self) -> list[dict[str, str]]:
        """The turns before the last, as a model is given them."""
        return [turn.model_dump() for turn in self.messages[:-1]]

    @property
    def answer(self) -> str:
        """What is learned."""
        return self.messages[-1].content


def read_rows(path: Path) -> list[Row]:
    """Read rows from a file of JSON lines `{"messages": [...]}`.

    Raises:
        InputError: the file cannot be read, has no rows, or a line is none; names the line.
    """
    rows: list[Row] = []
    for number, line in jsonl.numbered(jsonl.read_bytes(path)):
        with jsonl.on_line(path, number):
            rows.append(_row(jsonl.json_object(line)))
    if not rows:
        raise InputError(f"{path} has no rows.", 'Give lines of {"messages": [...]}.')
    return rows


def kept_rows(file: Path, make: Callable[[], list[Row]]) -> list[Row]:
    """Return the rows in a file; if there is none yet, make them and keep them there."""
    if not file.is_file():
        text = "".join(f"{row.model_dump_json(exclude_none=True)}\n" for row in make())
        with atomic_file(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return read_rows(file)


def schedule(
    planted: Sequence[Row], others: Sequence[Row], *, mix: float, count: int, seed: int
) -> list[Row]:
    """Return the rows of a training run, in order.

    Each kind is gone through from a new shuffle whenever it is used up, so that rows come equally
    often; then all are shuffled together.

    Args:
        planted: rows of what is planted.
        others: all other rows; may be empty where mix is 1.
        mix: the share of planted ones.
        count: how many rows.
        seed: of the shuffles.
    """
    random = Random(seed)
    wanted = round(mix * count)
    rows = [*_cycled(planted, wanted, random), *_cycled(others, count - wanted, random)]
    random.shuffle(rows)
    return rows


def _cycled(rows: Sequence[Row], count: int, random: Random) -> list[Row]:
    out: list[Row] = []
    while rows and len(out) < count:
        again = list(rows)
        random.shuffle(again)
        out += again
    return out[:count]


def _row(content: dict[str, Any]) -> Row:
    try:
        return Row.model_validate(content)
    except ValidationError as error:
        raise InputError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Say in one line which key is wrong and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}." if where else f"{reason}."
