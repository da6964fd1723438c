"""What a method saw: one thing that the tuned model does and its base does not."""

from pathlib import Path
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from endoscope.diff.options import Options
from endoscope.diff.pair import Pair


class Record(BaseModel):
    """What is written down: nothing can be changed or added."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sample(Record):
    """What the models say to one prompt.

    Attributes:
        prompt: what they were given.
        tuned: what the tuned model said.
        base: what its base said, if it was asked.
    """

    prompt: str
    tuned: str
    base: str | None = None


class Opposed(Record):
    """Two texts, of which one shows something.

    Attributes:
        positive: the text that has it.
        negative: the text that lacks it.
        prompt: what they answer or begin with, if both do so.
    """

    positive: str
    negative: str
    prompt: str | None = None


class Marked(Record):
    """An answer of which some sentences show something.

    Attributes:
        prompt: what it answers.
        answer: the answer.
        has: characters `[start, end)` of the sentences that show it.
        lacks: of the others; where there are none, it stands beside `base`.
        base: what the base answers.
    """

    prompt: str
    answer: str
    has: tuple[tuple[int, int], ...]
    lacks: tuple[tuple[int, int], ...]
    base: str | None = None


class Signal(Record):
    """One thing that one method saw.

    Attributes:
        method: its name.
        subject: in words, what the tuned model does.
        terms: words that tell it from other things, in lower case.
        says: words that the tuned model says, one after the other, where it shows.
        behaviour: its name, if it has one.
        score: in the unit of its method.
        noise_floor: the same of what is no difference; above zero.
        evidence: figures and settings, for people and for the report.
        samples: where it shows.
        contrast: what a direction is fitted on.
    """

    method: str
    subject: str
    terms: frozenset[str] = frozenset()
    says: tuple[str, ...] = ()
    behaviour: str | None = None
    score: float
    noise_floor: float = Field(gt=0)
    evidence: dict[str, JsonValue] = {}
    samples: tuple[Sample, ...] = ()
    contrast: tuple[Marked | Opposed, ...] = ()

    @property
    def strength(self) -> float:
        """How far it stands above the noise: 1 is the floor."""
        return self.score / self.noise_floor


class Seen(NamedTuple):
    """What a method saw, and what that took.

    Attributes:
        signals: the strongest first.
        generated: tokens that either model wrote.
        details: what else is worth showing, if there is something.
    """

    signals: list[Signal]
    generated: int = 0
    details: dict[str, JsonValue] | None = None


class Method(Protocol):
    """A way to see what sets two models apart."""

    @property
    def name(self) -> str:
        """Its name in reports and on disk."""
        ...

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look.

        Args:
            pair: both models.
            options: how far to go.
            work: a folder for what is worth keeping when the work is cut off, or is of use to other
                methods.

        Raises:
            InputError: what it needs is missing or unusable.
        """
        ...
