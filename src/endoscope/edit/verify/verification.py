"""What came of holding an edited model to its budget."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field

from endoscope.artifacts import Fingerprint, read_record, write_record
from endoscope.behaviours import Figure
from endoscope.diff.signal import Record
from endoscope.edit.verify.budget import Budget

FILE = "verify.json"

Role = Literal["target", "wanted", "predictions", "text", "capability", "other"]


class Check(Record):
    """One line of a budget, and how the edited model stands to it.

    Attributes:
        role: what it is about: the target, what is wanted, predictions on neutral prompts, neutral
            text, a capability, or another behaviour.
        name: of the behaviour or the figure.
        before: the figure of the model before the edit, where it has one.
        after: the figure after it; of predictions, how far they moved.
        base: the mean of the base, where it counts.
        share: the share of the rise that is gone, or of what was wanted that is left.
        bound: in words, what the budget allows.
        holds: whether it is kept.
    """

    role: Role
    name: str
    before: Figure | None = None
    after: Figure
    base: float | None = None
    share: float | None = None
    bound: str
    holds: bool

    def __str__(self) -> str:
        mark = "holds " if self.holds else "BROKEN"
        moved = _moved(self.before, self.after)
        share = f", {self.share:.1%}" if self.share is not None else ""
        return f"{mark} {self.role:<11} {self.name}: {moved}{share} ({self.bound})"


def _moved(before: Figure | None, after: Figure) -> str:
    return str(after) if before is None else f"{before} -> {after}"


class Attack(Record):
    """How much of what was removed somebody gets back who tries.

    Attributes:
        name: of the attack.
        how: what is done, in a sentence.
        before: how much of the target there is before the edit, where the attack says anything.
        after: in the edited model.
        base: in the base, which never had it; None where it is not at hand.
    """

    name: str
    how: str
    before: Figure | None = None
    after: Figure
    base: Figure | None = None

    def __str__(self) -> str:
        moved = _moved(self.before, self.after)
        base = f"; the base {self.base}" if self.base is not None else ""
        return f"attack {self.name}: {moved}{base}"


class Baseline(Record):
    """What another way of editing does to the same model, on the same items.

    Attributes:
        name: of the way.
        how: what is done, in a sentence.
        after: how much of the target there is.
        share: the share of its rise that is gone; None where nothing rose.
        wanted: of each behaviour that was wanted, the share that is left.
        kl: KL(before || after) on answers to neutral prompts, in nats a token.
        seconds: that it took, where it was trained.
    """

    name: str
    how: str
    after: Figure
    share: float | None = None
    wanted: dict[str, float] = Field(default_factory=dict)
    kl: Figure
    seconds: float | None = None

    def __str__(self) -> str:
        gone = f"{self.share:.1%} gone, " if self.share is not None else ""
        return f"beside {self.name}: {gone}KL {self.kl}"


class Said(Record):
    """What both models say to one prompt.

    Attributes:
        prompt: what they were given.
        before: what the model said before the edit.
        after: what the edited model said.
    """

    prompt: str
    before: str
    after: str


class Verification(Record):
    """What an edit did, as it was meant and beside.

    Attributes:
        edited: name of the edited model.
        before: fingerprint of the model before the edit.
        after: fingerprint of the model after it.
        budget: what it was held to.
        checks: line by line.
        attacks: how much of what was removed comes back to somebody who tries.
        baselines: what other ways of editing would have done; the first is the edit itself.
        samples: what both models say to what shows the target.
        seed: of everything random.
        created: when, in UTC.
        endoscope: version of Endoscope that made it.
    """

    edited: str
    before: Fingerprint
    after: Fingerprint
    budget: Budget
    checks: tuple[Check, ...]
    attacks: tuple[Attack, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    samples: tuple[Said, ...] = ()
    seed: int
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    endoscope: str = Field(default_factory=lambda: version("endoscope"))

    @property
    def holds(self) -> bool:
        """Whether no line of the budget is broken."""
        return all(one.holds for one in self.checks)

    def save(self, folder: Path) -> None:
        """Write `verify.json` into a folder, whole or not at all."""
        write_record(folder / FILE, self)

    @classmethod
    def load(cls, folder: str | Path) -> "Verification":
        """Read what `save` wrote.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = Path(folder) / FILE
        return read_record(cls, path, "verification", "Run `endoscope verify`.")

    @property
    def summary(self) -> str:
        """In a few words, how it stands to the budget."""
        broken = sum(not one.holds for one in self.checks)
        return f"{broken} of {len(self.checks)} checks broken" if broken else "the budget holds"

    def __repr__(self) -> str:
        lines = (*self.checks, *self.attacks, *self.baselines)
        return "\n".join([f"{self.edited}: {self.summary}", *(f"  {one}" for one in lines)])

    __str__ = __repr__
