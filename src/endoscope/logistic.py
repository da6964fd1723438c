"""Multinomial logistic regression in memory, with the penalty chosen on validation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional

PATH_ROWS = 40_000  # enough to choose a penalty on; the chosen one is then fitted on all rows
# The relative decrease of the loss in a step at which a fit has converged.
PATH_TOLERANCE, TOLERANCE = 1e-4, 1e-5


class Rows(NamedTuple):
    """What a head is fitted on.

    Attributes:
        features: `[rows, n_features]` float32, standardised.
        classes: `[rows]` int64.
        weights: `[rows]` float32.
    """

    features: Tensor
    classes: Tensor
    weights: Tensor

    def thinned(self, limit: int) -> "Rows":
        """Return at most so many rows, evenly chosen."""
        step = max(1, -(-len(self.classes) // limit))
        return Rows(self.features[::step], self.classes[::step], self.weights[::step])


class Affine(NamedTuple):
    """Logits as an affine map of standardised features.

    Attributes:
        weight: `[labels, n_features]`.
        bias: `[labels]`.
        penalty: the strength of regularisation chosen on validation.
    """

    weight: Tensor
    bias: Tensor
    penalty: float

    def __call__(self, features: Tensor) -> Tensor:
        """Return logits `[rows, labels]`."""
        return torch.addmm(self.bias, features, self.weight.T)


def weighted_loss(logits: Tensor, rows: Rows) -> float:
    """Return the weighted mean cross-entropy of the rows."""
    loss = functional.cross_entropy(logits.double(), rows.classes, reduction="none")
    return float((loss * rows.weights).sum() / rows.weights.sum())


def fit_logistic(
    train: Rows, validation: Rows, n_labels: int, penalties: Sequence[float]
) -> Affine:
    """Minimise `mean(weight * cross-entropy) + penalty / 2 * |W|²` for a path of penalties.

    The path runs from strong to weak, each fit starting from the one before, and stops once the
    loss on validation gets worse. The bias is not penalised. L-BFGS, full batch: deterministic.

    Args:
        train: what to fit.
        validation: what to choose the penalty on.
        n_labels: number of classes.
        penalties: to try, at least one.
    """
    width = train.features.shape[1]
    fitted = Affine(torch.zeros(n_labels, width), torch.zeros(n_labels), max(penalties))
    best, lowest = fitted, float("inf")
    path = train.thinned(PATH_ROWS)
    for penalty in sorted(penalties, reverse=True):
        fitted = _solve(path, fitted, penalty, PATH_TOLERANCE)
        loss = weighted_loss(fitted(validation.features), validation)
        if loss > lowest:
            break
        best, lowest = fitted, loss
    return _solve(train, best, best.penalty, TOLERANCE)


def _solve(rows: Rows, start: Affine, penalty: float, tolerance: float) -> Affine:
    shape = (start.weight.shape[0], start.weight.shape[1] + 1)
    share = rows.weights / rows.weights.sum()
    every = torch.arange(len(rows.classes))

    def unpack(flat: "np.ndarray[Any, Any]") -> Affine:
        both = torch.from_numpy(flat).float().view(shape)
        return Affine(both[:, :-1].contiguous(), both[:, -1].contiguous(), penalty)

    def objective(flat: "np.ndarray[Any, Any]") -> tuple[float, "np.ndarray[Any, Any]"]:
        affine = unpack(flat)
        log_p = torch.log_softmax(affine(rows.features), dim=1)
        loss = -float((log_p[every, rows.classes] * share).double().sum())
        loss += penalty / 2 * float(affine.weight.double().square().sum())
        residual = log_p.exp_()
        residual[every, rows.classes] -= 1
        residual *= share[:, None]
        # In this order: `features.T @ residual` takes a kernel that is thirty times slower.
        slope = residual.T @ rows.features + penalty * affine.weight
        both = torch.cat([slope, residual.sum(0)[:, None]], dim=1)
        return loss, both.double().numpy().ravel()

    both = torch.cat([start.weight, start.bias[:, None]], dim=1).double().numpy().ravel()
    options = {"maxiter": 500, "ftol": tolerance, "gtol": 1e-7, "maxcor": 20}
    done = minimize(objective, both, jac=True, method="L-BFGS-B", options=options)
    return unpack(done.x)
