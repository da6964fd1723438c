"""Figures that several rooms need: how well scores separate, and how sure a figure is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.floating[Any]]


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Return the probability that a positive scores above a negative; NaN without both."""
    n, found = len(positive), int(positive.sum())
    if found in (0, n):
        return float("nan")
    above = rankdata(scores)[positive].sum() - found * (found + 1) / 2
    return float(above / (found * (n - found)))


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    *,
    seed: int = 0,
    repeats: int = 1000,
) -> tuple[float, float]:
    """Return the 95% interval of a statistic, by resampling units (documents, pairs).

    Args:
        statistic: from indices of units (with repeats) to a number; NaN where undefined.
        n: how many units there are.
        seed: of the resampling.
        repeats: how often.
    """
    rng = np.random.default_rng(seed)
    values = np.array([statistic(rng.integers(0, n, n)) for _ in range(repeats)])
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
