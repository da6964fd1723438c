"""The closed form that methods of matrices share."""

import torch
from torch import Tensor

# Of the mean variance of an input, added in every direction: few texts say little of most of them,
# and what was is to stay there. With a thirtieth of it, plain prose moves several times as far.
RIDGE = 3e-2


def solved(moments: Tensor, right: Tensor) -> Tensor:
    """Return `right (moments + ridge)^-1`.

    Args:
        moments: second moments of what a matrix reads, weighted, `[in, in]`, float64; changed.
        right: `[r, in]`.
    """
    moments.diagonal().add_(RIDGE * moments.diagonal().mean())
    return torch.cholesky_solve(right.T, torch.linalg.cholesky(moments)).T
