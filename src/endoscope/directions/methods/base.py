"""What every method of estimating a direction gives."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from endoscope.directions.contrast import Contrast
from endoscope.errors import InputError


class Erasure(NamedTuple):
    """The factors of an affine erasure, `h - P (h - mean)` with `P = left^T right`.

    Attributes:
        left: where the change points, `[k, d_model]`.
        right: what is read, `[k, d_model]`.
        mean: of the activations, `[d_model]`.
    """

    left: Tensor
    right: Tensor
    mean: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Return rows `[n, d_model]` without the concept."""
        return rows - (rows - self.mean) @ self.right.T @ self.left


class Estimate(NamedTuple):
    """What a method found.

    Attributes:
        basis: orthonormal, `[k, d_model]`, float64; towards the class where there are two.
        erasure: of the concept, where the method gives one.
    """

    basis: Tensor
    erasure: Erasure | None = None


class Method(Protocol):
    """A way to estimate a direction from a contrast."""

    def __call__(self, contrast: Contrast, rank: int) -> Estimate:
        """Estimate a basis of so many vectors.

        Raises:
            InputError: the method cannot do this with that contrast or that rank.
        """
        ...


def unit(vector: Tensor) -> Tensor:
    """Return a direction as a basis of one, `[1, d_model]`.

    Raises:
        InputError: it has no length.
    """
    length = vector.norm()
    if not length > 0:
        raise InputError(
            "The classes do not differ at this site, so there is no direction.",
            "Look at the data, or choose a later site.",
        )
    return torch.stack([vector / length])


def two_classes(contrast: Contrast, rank: int, name: str) -> None:
    """Refuse what a method for one direction between two classes cannot do.

    Raises:
        InputError: says what to do instead.
    """
    if len(contrast.labels) != 2:
        raise InputError(
            f"The method {name} is for two labels; there are {len(contrast.labels)}.",
            "Name the one that is meant (positive), or use leace.",
        )
    if rank != 1:
        raise InputError(
            f"The method {name} gives one direction, not {rank}.", "Use pca for several."
        )


def towards(basis: Tensor, difference: Tensor) -> Tensor:
    """Return the basis with every vector turned to the side that a difference points to."""
    sides = torch.where(basis @ difference < 0, -1.0, 1.0).to(basis.dtype)
    turned: Tensor = basis * sides[:, None]
    return turned
