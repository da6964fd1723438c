"""How alike two directions or subspaces are."""

from torch import Tensor
from torch.linalg import svdvals


def similarity(left: Tensor, right: Tensor) -> float:
    """Return the cosine of two directions, or the mean cosine of two subspaces' principal angles.

    Args:
        left: orthonormal, `[k, d_model]`.
        right: the same shape.
    """
    across = left @ right.T
    return float(across) if across.numel() == 1 else float(svdvals(across).mean())
