"""What a benchmark reports: one row a comparison."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from endoscope.bench.pairs import Estimate, Pair, median_ratio


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        bench: the benchmark.
        case: what was run, in words.
        ours: our figure, in `unit`.
        against: who or what we were compared with.
        theirs: the same figure of the other side.
        ratio: how many times better ours is: 1.0 is equal, higher is better.
        low: lower end of the ratio's bootstrap 95% interval.
        high: upper end.
        unit: of `ours` and `theirs`.
    """

    bench: str
    case: str
    ours: float
    against: str
    theirs: float
    ratio: float
    low: float
    high: float
    unit: str

    def as_json(self) -> dict[str, Any]:
        """Return the row as the object that is printed."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Failure:
    """A comparison that could not be made, and why."""

    bench: str
    case: str
    against: str
    error: str

    def as_json(self) -> dict[str, Any]:
        """Return the failure as the object that is printed."""
        return asdict(self)


@dataclass(frozen=True)
class Subject:
    """What the rows of one comparison have in common."""

    bench: str
    case: str
    against: str

    def row(self, ours: float, theirs: float, ratio: Estimate, unit: str, note: str = "") -> Row:
        """Return a row; `note` is added to the case."""
        case = f"{self.case}, {note}" if note else self.case
        return Row(self.bench, case, ours, self.against, theirs, *ratio, unit)

    def rate(self, pairs: Sequence[Pair], amount: float, unit: str) -> Row:
        """Compare how much each side did in a second; more is better."""
        ours = amount / median(pair.ours.seconds for pair in pairs)
        theirs = amount / median(pair.theirs.seconds for pair in pairs)
        return self.row(ours, theirs, _speed(pairs), unit)

    def time(self, pairs: Sequence[Pair], amount: float, unit: str) -> Row:
        """Compare how many milliseconds each side took for one of `amount`; fewer is better."""
        ours = 1000 / amount * median(pair.ours.seconds for pair in pairs)
        theirs = 1000 / amount * median(pair.theirs.seconds for pair in pairs)
        return self.row(ours, theirs, _speed(pairs), unit)

    def memory(self, pairs: Sequence[Pair]) -> Row | None:
        """Compare each side's peak memory; less is better. None where it cannot be known."""
        peaks = [(pair.ours.peak_mib, pair.theirs.peak_mib) for pair in pairs]
        known = [(a, b) for a, b in peaks if a is not None and b is not None]
        if not known:
            return None
        ours, theirs = (median(side) for side in zip(*known, strict=True))
        return self.row(ours, theirs, median_ratio([b / a for a, b in known]), "MiB", "peak memory")

    def failure(self, error: Exception) -> Failure:
        """Report that the comparison could not be made."""
        return Failure(self.bench, self.case, self.against, str(error))


def _speed(pairs: Sequence[Pair]) -> Estimate:
    return median_ratio([pair.theirs.seconds / pair.ours.seconds for pair in pairs])
