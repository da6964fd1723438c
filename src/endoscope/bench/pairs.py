"""Two sides that take turns, and the ratio between them with its uncertainty."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from endoscope.bench.worker import Measurement

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
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    draws = _draws(len(a), seed=0)
    resampled = _ratio(_f1(a[draws].sum(axis=1)), _f1(b[draws].sum(axis=1)))
    return _estimate(float(_ratio(_f1(a.sum(axis=0)), _f1(b.sum(axis=0)))), resampled)


def f1(counts: Sequence[Sequence[int]]) -> float:
    """Return F1 over all documents, from each one's found, wrongly found and missed characters."""
    return float(_f1(np.asarray(counts, dtype=float).sum(axis=0)))


def _f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    found, wrong, missed = np.moveaxis(counts, -1, 0)
    score: NDArray[np.float64] = 2 * found / np.maximum(1, 2 * found + wrong + missed)
    return score


def _ratio(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ratio; a side that found nothing counts as next to nothing, so 0 to 0 is 1."""
    ratio: NDArray[np.float64] = np.maximum(ours, 1e-3) / np.maximum(theirs, 1e-3)
    return ratio


def _draws(n: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))


def _estimate(value: float, resampled: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
