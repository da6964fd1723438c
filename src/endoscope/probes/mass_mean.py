"""Mass-mean heads: class means, corrected by the covariance within classes."""

import torch

from endoscope.logistic import Affine, Rows, weighted_loss

SHRINKAGES = (0.5, 0.2, 0.05, 0.01)  # to try, from 0 (none) to 1 (the diagonal alone)


def fit_mass_mean(train: Rows, validation: Rows, n_labels: int) -> Affine:
    """Fit `W = mean S⁻¹`, where S is the covariance within classes, shrunk towards its diagonal.

    With two classes the log-odds are `x · S⁻¹ (m₁ - m₀)` and a constant: Marks & Tegmark 2023,
    "The geometry of truth". With more it is linear discriminant analysis. Priors come from the
    weights. The shrinkage is chosen on validation; `penalty` of the result is what was chosen.

    Args:
        train: what to fit; every class needs at least one row.
        validation: what to choose the shrinkage on.
        n_labels: number of classes.
    """
    counts = torch.bincount(train.classes, train.weights, n_labels)
    weighted = train.features * train.weights[:, None]
    means = torch.zeros(n_labels, train.features.shape[1])
    means = means.index_add_(0, train.classes, weighted) / counts[:, None]
    centred = train.features - means[train.classes]
    within = (centred * train.weights[:, None]).T @ centred / counts.sum()

    best, lowest = None, float("inf")
    for shrinkage in SHRINKAGES:
        shrunk = (1 - shrinkage) * within + shrinkage * torch.diag(within.diagonal())
        # A direction that never varies within classes would be divided by zero.
        shrunk += 1e-6 * torch.eye(len(shrunk))
        weight = torch.linalg.solve(shrunk.double(), means.T.double()).T
        bias = -(weight * means).sum(1) / 2 + (counts / counts.sum()).log()
        fitted = Affine(weight.float(), bias.float(), shrinkage)
        loss = weighted_loss(fitted(validation.features), validation)
        if best is None or loss < lowest:
            best, lowest = fitted, loss
    assert best is not None
    return best
