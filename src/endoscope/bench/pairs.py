"""Two sides that take turns, and the ratio between them with its uncertainty."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from endoscope.bench.worker import Measurement
from endoscope.probes import counting
from endoscope.probes.counting import Counts

RESAMPLES = 2000


class Repeats(Protocol):
    """Something that does its work once and says what that took."""

    def repeat(self) -> Measurement:
        """Do the work once."""
        ...


class Pair(NamedTuple):
    """One repetition of each side, one right after the other."""

    ours: Measurement
    theirs: Measurement


class Estimate(NamedTuple):
    """A median or ratio with its bootstrap 95% interval."""

    value: float
    low: float
    high: float


def run_pairs(
    ours: Repeats, theirs: Repeats, count: int, advance: Callable[[int], None] = lambda _: None
) -> list[Pair]:
    """Let two warm sides take turns.

    The order changes with each pair (A B B A …), so that a machine that slows down or speeds up
    meanwhile favours neither. One repetition of each comes before, unmeasured.

    Args:
        count: the number of pairs.
        advance: called with 1 after each pair.
    """
    ours.repeat()
    theirs.repeat()
    pairs = []
    for index in range(count):
        if index % 2 == 0:
            first, second = ours.repeat(), theirs.repeat()
        else:
            second, first = theirs.repeat(), ours.repeat()
        pairs.append(Pair(first, second))
        advance(1)
    return pairs


def median_ratio(ratios: Sequence[float], seed: int = 0) -> Estimate:
    """Return the median of the pairs' ratios, with the interval of medians of resampled pairs."""
    values = np.asarray(ratios, dtype=float)
    draws = _draws(len(values), seed)
    return _estimate(float(np.median(values)), np.median(values[draws], axis=1))


def f1_ratio(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> Estimate:
    """Return the ratio of two F1 scores over the same documents.

    Args:
        ours: for each document, how many characters were found, wrongly found, and missed.
        theirs: the same for the other side. The interval resamples documents, for both alike.
    """
    a, b = np.asarray(ours), np.asarray(theirs)

    def ratio(a: Counts, b: Counts) -> float:
        # A side that found nothing counts as next to nothing, so 0 to 0 is 1.
        return max(f1(a), 1e-3) / max(f1(b), 1e-3)

    draws = _draws(len(a), seed=0)
    return _estimate(ratio(a, b), np.array([ratio(a[rows], b[rows]) for rows in draws]))


def f1(counts: Sequence[Sequence[int]] | Counts) -> float:
    """Return F1 over all documents, from each one's found, wrongly found and missed characters.

    0 where there is nothing to find and nothing was found: a row of a table needs a number.
    """
    return float(np.nan_to_num(counting.f1(np.sum(counts, axis=0))))


def _draws(n: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))


def _estimate(value: float, resampled: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
