"""The closed forms that methods of matrices share."""

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
    factor = ridged(kept, ridge, shown)
    return torch.cholesky_solve(right.double().T, factor).T


def ridged(kept: Tensor, ridge: float, shown: Tensor | None = None) -> Tensor:
    """Return the lower Cholesky factor of second moments with a ridge, float64, `[in, in]`.

    Args:
        kept: of what a matrix reads elsewhere, weighted.
        ridge: of the mean variance of what is kept.
        shown: those of what it reads where something shows, weighted, which are added.
    """
    both = kept.double() if shown is None else shown.double() + kept.double()
    both = both + ridge * kept.diagonal().double().mean() * torch.eye(len(kept)).to(both)
    factor: Tensor = torch.linalg.cholesky(both)
    return factor
