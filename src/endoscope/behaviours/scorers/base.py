"""What every scorer can be asked for."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from endoscope.behaviours.item import Item
from endoscope.behaviours.prompts import answers
from endoscope.engine import Model


class Score(NamedTuple):
    """What came of one item.

    Attributes:
        value: how much of the behaviour there is, usually from 0 to 1.
        output: what the model wrote, where it wrote anything.
    """

    value: float
    output: str | None = None


class Scorer(Protocol):
    """How much of a behaviour there is in what a model does with items.

    An implementation is a frozen pydantic model: its fields are its keys in the spec, and `kind`,
    a literal, is its name there.
    """

    @property
    def kind(self) -> str:
        """Its name in specs."""
        ...

    def problem(self, item: Item) -> str | None:
        """Say why an item cannot be scored, if it cannot."""
        ...

    def score(
        self, model: Model, items: Sequence[Item], *, seed: int, progress: bool
    ) -> list[Score]:
        """Run the items through the model and score them, in order.

        Args:
            model: as it is now, interventions included.
            items: that have no `problem`.
            seed: of whatever is sampled.
            progress: show a bar.
        """
        ...


class Asks(Protocol):
    """A scorer of what the model writes."""

    @property
    def max_tokens(self) -> int:
        """Of an answer."""
        ...

    @property
    def temperature(self) -> float:
        """0 takes the most probable token."""
        ...


def answers_to(
    scorer: Asks, model: Model, items: Sequence[Item], *, seed: int, progress: bool
) -> list[str]:
    """Return what the model writes to items, as a scorer asks for it."""
    return answers(
        model,
        items,
        max_tokens=scorer.max_tokens,
        temperature=scorer.temperature,
        seed=seed,
        progress=progress,
    )
