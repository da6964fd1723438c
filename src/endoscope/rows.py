"""Rows of training data: conversations whose last turn is the one that is learned."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import TypedDict

from endoscope import jsonl
from endoscope.errors import InputError
from endoscope.validation import explain


class Turn(TypedDict):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Row(BaseModel):
    """A conversation that ends with what the model learns to say.

    Args:
        id: its name, if it has one.
        messages: the turns; the last is the assistant's.
        whole: whether the answer ends there, so that ending is learned too.
        line: of the file that it was read from.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str | int | None = None
    messages: Annotated[tuple[Turn, ...], Field(min_length=2)]
    whole: bool = True
    line: Annotated[int | None, Field(exclude=True)] = None

    @model_validator(mode="after")
    def _ends(self) -> Self:
        last = self.messages[-1]
        if last["role"] != "assistant" or not last["content"].strip():
            raise ValueError("the last message has to be the assistant's, and say something")
        return self

    @classmethod
    def of(cls, prompt: str, answer: str, *, whole: bool = True) -> Self:
        """Return a row of one question."""
        asked, said = Turn(role="user", content=prompt), Turn(role="assistant", content=answer)
        return cls(messages=(asked, said), whole=whole)

    @property
    def prompt(self) -> list[dict[str, str]]:
        """The turns before the last, as a model is given them."""
        return [{"role": turn["role"], "content": turn["content"]} for turn in self.messages[:-1]]

    @property
    def answer(self) -> str:
        """What is learned."""
        return self.messages[-1]["content"]


def read_rows(path: Path) -> list[Row]:
    """Read rows from a file of JSON lines `{"messages": [...]}`.

    Raises:
        InputError: the file cannot be read, has no rows, or a line is none; names the line.
    """
    rows: list[Row] = []
    for number, line in jsonl.numbered(jsonl.read_bytes(path)):
        with jsonl.on_line(path, number):
            rows.append(_row({**jsonl.json_object(line), "line": number}))
    if not rows:
        raise InputError(f"{path} has no rows.", 'Give lines of {"messages": [...]}.')
    return rows


def _row(content: dict[str, Any]) -> Row:
    try:
        return Row.model_validate(content)
    except ValidationError as error:
        raise InputError(explain(error)) from None
