"""The algebra: every intervention as a low-rank change of the hidden vector."""

from typing import NamedTuple

import torch
from torch import Tensor


class LowRank(NamedTuple):
    """`h' = h + (c + phi(h A^T + b)) B`, with `phi(z) = z where z > theta, else 0`.

    A theta of minus infinity makes phi the identity, 0 makes it ReLU, anything else JumpReLU.
    All tensors are float64: what runs them chooses its own precision.

    Attributes:
        A: what is read, `[k, d_model]`.
        B: what is added, `[k, d_model]`.
        b: `[k]`.
        c: `[k]`.
        theta: `[k]`.
    """

    A: Tensor
    B: Tensor
    b: Tensor
    c: Tensor
    theta: Tensor


def low_rank(
    read: Tensor,
    write: Tensor,
    *,
    b: Tensor | float = 0.0,
    c: Tensor | float = 0.0,
    theta: float = float("-inf"),
) -> LowRank:
    """Make a `LowRank` from `[k, d_model]` factors; a number stands for k equal ones."""

    def vector(value: Tensor | float) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float64).expand(len(read)).clone()

    return LowRank(read.double(), write.double(), vector(b), vector(c), vector(theta))
