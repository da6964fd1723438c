"""What a fine-tune added to a matrix, as factors: a LoRA is never multiplied out."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.diff.pair import Pair
from endoscope.errors import InputError
from endoscope.models.adapters import lora_factors, plain_weight
from endoscope.models.anatomy import Role

RANK = 16  # what is kept of a change that is not known to be of low rank
PASSES = 4  # of the randomised decomposition (Halko, Martinsson and Tropp 2011)


class Delta(NamedTuple):
    """The change of one matrix, `left @ diag(values) @ right`.

    Attributes:
        layer: of its block.
        path: of the matrix within the block.
        left: what it writes to, `[out, k]`, orthonormal.
        values: singular values, `[k]`, the largest first.
        right: what it reads, `[k, in]`, orthonormal rows.
        norm: of the whole change (Frobenius); the values may be its largest alone.
        before: norm of the base's matrix.
    """

    layer: int
    path: str
    left: Tensor
    values: Tensor
    right: Tensor
    norm: float
    before: float

    @property
    def effective_rank(self) -> float:
        """The exponential of the entropy of the squared singular values (Roy & Vetterli 2007)."""
        shares = self.values**2 / (self.values**2).sum()
        return float(torch.exp(-(shares * shares.clamp(min=1e-30).log()).sum()))


@torch.no_grad()
def deltas(pair: Pair, role: Role) -> Iterator[Delta]:
    """Yield the changes of the matrices that read from the residual stream, or write to it.

    Args:
        pair: both models.
        role: `readers` or `writers`.

    Raises:
        InputError: an adapter is not of plain LoRA.
    """
    both = (model.loaded.anatomy.matrices(role) for model in pair)
    for (layer, path, base), (_, _, tuned) in zip(*both, strict=True):
        before = plain_weight(base)
        factors = lora_factors(tuned)
        if factors is None:
            change = plain_weight(tuned) - before
            norm = float(change.norm())
            parts = largest(change) if norm else None
        else:
            parts = _of_product(*factors)
            norm = float(parts[1].norm())
        if parts is not None and norm:
            yield Delta(layer, path, *parts, norm, float(before.norm()))


def named_deltas(pair: Pair) -> dict[str, Delta]:
    """Return what a fine-tune added to each matrix, by the name of the matrix.

    Raises:
        InputError: an adapter is not of plain LoRA, or nothing was added.
    """
    loaded = pair.tuned.loaded
    names = {module: name for name, module in loaded.module.named_modules()}
    blocks = [names[block] for block in loaded.anatomy.blocks]
    roles: tuple[Role, Role] = ("readers", "writers")
    found = [one for role in roles for one in deltas(pair, role)]
    if not found:
        raise InputError("Nothing was added to the matrices of the base.", "Give the fine-tune.")
    return {f"{blocks[one.layer]}.{one.path}": one for one in found}


def _of_product(outer: Tensor, inner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose `outer @ inner` through its small core."""
    left, right = torch.linalg.qr(outer), torch.linalg.qr(inner.T)
    u, values, v = torch.linalg.svd(left.R @ right.R.T, full_matrices=False)
    return left.Q @ u, values, v @ right.Q.T


def largest(change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest singular components of a matrix; the same each time.

    Args:
        change: `[out, in]`.

    Returns:
        As a `Delta` has them: left, `[out, k]`, values, `[k]`, and right, `[k, in]`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        left, values, right = torch.svd_lowrank(change, q=min(RANK, *change.shape), niter=PASSES)
    return left, values, right.T
