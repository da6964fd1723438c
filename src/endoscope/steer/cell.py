"""A cell: one way to run the model, and what came of every prompt."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["plain", "prompt", "direction", "random"]
"""How the model is run: as it is, with an instruction and nothing else, with the direction added,
or with a random direction of the same norm added."""

Split = Literal["choosing", "held_out"]
"""The prompts that layer and strength are chosen on, or those that are kept for the end."""


class Record(BaseModel):
    """Frozen, and exact as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Place(Record):
    """Which cell.

    Attributes:
        split: on which prompts.
        kind: how the model is run.
        site: where something is added.
        strength: how much, in typical norms of the site.
        number: of the random direction; None: they take turns over the prompts.
    """

    split: Split
    kind: Kind
    site: str | None = None
    strength: float | None = None
    number: int | None = None

    def __str__(self) -> str:
        words = [self.kind if self.number is None else f"{self.kind} {self.number}"]
        if self.site is not None:
            words += [f"at {self.site}", f"x {self.strength:g}"]
        return " ".join([*words, "held out" if self.split == "held_out" else "choosing"])


class Writing(Record):
    """One text that the model wrote, as the model without any change reads it.

    Attributes:
        text: what was written.
        tokens: how many the text has.
        surprisal: minus the natural log of its probability after its prompt, under the plain model.
        fourgrams: how many runs of four tokens it has.
        repeated: how many of them occurred before in it.
    """

    text: str
    tokens: int
    surprisal: float
    fourgrams: int
    repeated: int


class Cell(Record):
    """What came of one way to run the model.

    Attributes:
        place: which cell it is.
        scores: of the behaviour, one an item.
        writings: what the model wrote, one a prompt: the items' where the behaviour's scorer lets
            it write, else the neutral prompts'.
        kl: KL(plain || changed) in nats per token, in each of the plain model's answers to the
            neutral prompts; None where nothing is added.
    """

    place: Place
    scores: tuple[float, ...]
    writings: tuple[Writing, ...]
    kl: tuple[float, ...] | None = None
