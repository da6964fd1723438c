"""The closed form that methods of matrices share."""

import torch
from torch import Tensor


def solved(right: Tensor, shown: Tensor, kept: Tensor, ridge: float) -> Tensor:
    """Return `right (shown + kept + ridge)^-1`, float64.

    Args:
        right: `[r, in]`.
        shown: second moments of what a matrix reads where something shows, weighted, `[in, in]`.
        kept: those of what it reads elsewhere, weighted.
        ridge: of the mean variance of what is kept, in every direction: few texts say little of
            most of them, and what was is to stay there.
    """
    both = shown.double() + kept.double()
    both.diagonal().add_(ridge * kept.diagonal().double().mean())
    return torch.cholesky_solve(right.double().T, torch.linalg.cholesky(both)).T
