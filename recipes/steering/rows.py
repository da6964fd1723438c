"""What the tables of the recipes are made of."""

from collections.abc import Sequence

import numpy as np

from endoscope.behaviours import Measurement
from endoscope.statistics import bootstrap_interval


def rise(found: Measurement, plain: Measurement) -> dict[str, float]:
    """Return how far the scores rose over the plain model's, item by item."""
    pairs = zip(found.items, plain.items, strict=True)
    return interval([after.score - before.score for after, before in pairs])


def interval(values: Sequence[float]) -> dict[str, float]:
    """Return a mean with its bootstrap 95% interval."""
    found = np.array(values)
    low, high = bootstrap_interval(lambda rows: float(found[rows].mean()), len(found))
    return {"value": float(found.mean()), "low": low, "high": high}
