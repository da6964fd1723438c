"""What a model is given, one at a time."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Message(_Strict):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Item(_Strict):
    """A prompt or a conversation, and what a scorer needs to know of it.

    Args:
        id: its name, unique among the items (or among the controls).
        prompt: what the user says; a model without a chat template goes on from it.
        messages: a whole conversation instead, for the model's chat template.
        control: the id of the control that this item is matched with.
        matching: for `choices`: the answer of a model that has the behaviour.
        others: for `choices`: the other answers.
    """

    id: str = Field(min_length=1)
    prompt: str | None = None
    messages: tuple[Message, ...] | None = None
    control: str | None = None
    matching: str | None = None
    others: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        if not (self.prompt or self.messages):
            raise ValueError("the prompt is empty")
        return self

    def conversation(self) -> list[dict[str, str]]:
        """Return it as messages."""
        if self.messages is None:
            return [{"role": "user", "content": str(self.prompt)}]
        return [message.model_dump() for message in self.messages]
