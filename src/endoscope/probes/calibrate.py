"""Calibration, and thresholds by a budget of false positives."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional

from endoscope.errors import InputError
from endoscope.readouts import Calibration, log_odds

Floats = NDArray[np.floating[Any]]
PULL = 1e-4


def fit_calibration(logits: Tensor, classes: Tensor) -> Calibration:
    """Fit a scale and a shift for each class that minimise cross-entropy on validation.

    Vector scaling (Guo et al. 2017); with two classes it is Platt scaling.

    Args:
        logits: `[n, labels]`, at least one row.
        classes: `[n]` int64.
    """
    odds = log_odds(logits.double())
    others = odds.shape[1] - 1

    def unpack(values: Tensor) -> tuple[Tensor, Tensor]:
        return values[:others].exp(), values[others:]

    def objective(flat: "Floats") -> tuple[float, "Floats"]:
        values = torch.from_numpy(flat)
        scale, shift = unpack(values)
        scaled = odds[:, 1:] * scale
        shifted = torch.cat([odds[:, :1], scaled + shift], dim=1)
        loss = functional.cross_entropy(shifted, classes)
        residual = torch.softmax(shifted, dim=1)
        residual[torch.arange(len(classes)), classes] -= 1
        residual = residual[:, 1:] / len(classes)
        slope = torch.cat([(residual * scaled).sum(0), residual.sum(0)])
        # A weak pull towards doing nothing: a class that validation separates perfectly would
        # otherwise be scaled without end.
        loss = loss + PULL / 2 * values.square().sum()
        return float(loss), (slope + PULL * values).numpy()

    done = minimize(objective, np.zeros(2 * others), jac=True, method="L-BFGS-B")
    scale, shift = unpack(torch.from_numpy(done.x))
    return Calibration(tuple(scale.tolist()), tuple(shift.tolist()))


def ece(probabilities: Tensor, classes: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error of the likeliest class, over bins of equal mass.

    Guo et al. 2017, "On calibration of modern neural networks"; equal mass rather than equal width,
    so that no bin rests on a handful of rows. NaN without rows.

    Args:
        probabilities: `[n, labels]`.
        classes: `[n]` int64.
        bins: how many.
    """
    if not len(classes):
        return float("nan")
    confidence, guess = (part.numpy() for part in probabilities.double().max(dim=1))
    order = confidence.argsort()
    excess = np.cumsum((confidence - (guess == classes.numpy()))[order])
    ends = np.linspace(0, len(order), min(bins, len(order)) + 1).round().astype(int)[1:] - 1
    return float(np.abs(np.diff(excess[ends], prepend=0.0)).sum() / len(order))


def threshold_at_fpr(scores: "Floats", positive: NDArray[np.bool_], budget: float) -> float:
    """Return the lowest threshold that at most this share of the negatives reaches.

    A score counts as positive if `score >= threshold`. So the threshold is the next number, in the
    precision of the scores, above the highest negative that may not pass, and all negatives that
    tie with that one stay below. Where the scores of too many negatives are 1, it is above 1.

    Args:
        scores: `[n]`, in the precision in which they will be compared with the threshold.
        positive: `[n]`.
        budget: highest false positive rate, from 0 to 1.

    Raises:
        InputError: there are no negatives, or the budget is no rate.
    """
    negatives = np.sort(np.asarray(scores)[~np.asarray(positive)])[::-1]
    if not len(negatives):
        raise InputError(
            "Without negatives there is no false positive rate.", "Add documents without the label."
        )
    if not 0 <= budget <= 1:
        raise InputError(f"{budget} is not a false positive rate.", "Give a number from 0 to 1.")
    allowed = int(budget * len(negatives) + 1e-9)
    if allowed == len(negatives):
        return float("-inf")
    return float(np.nextafter(negatives[allowed], np.inf))


def recall_at_fpr(scores: "Floats", positive: NDArray[np.bool_], budget: float) -> float:
    """Return the share of the positives found at a budget of false positives; NaN without any."""
    found = np.asarray(scores)[np.asarray(positive)]
    if not len(found) or len(found) == len(np.asarray(scores)):
        return float("nan")
    return float((found >= threshold_at_fpr(scores, positive, budget)).mean())
