"""A deterministic check on what the model writes."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from endoscope.behaviours.checks import AnyCheck
from endoscope.behaviours.item import Item
from endoscope.behaviours.scorers.base import Score, answers_to
from endoscope.engine import Model


class CheckScorer(BaseModel):
    """Let the model answer, and look at the answer.

    Args:
        check: what is looked for; the score is what it gives, true being 1.
        max_tokens: of an answer.
        temperature: 0 takes the most probable token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["check"]
    check: AnyCheck
    max_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)

    def problem(self, item: Item) -> str | None:
        """Say why an item cannot be scored; every item can."""
        return None

    def score(
        self, model: Model, items: Sequence[Item], *, seed: int, progress: bool
    ) -> list[Score]:
        """Return what the check says of each answer, and the answer."""
        written = answers_to(self, model, items, seed=seed, progress=progress)
        return [Score(float(self.check(answer)), answer) for answer in written]
