"""What a fine-tune added to a matrix, as factors: a LoRA is never multiplied out."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from endoscope.diff.pair import Pair
from endoscope.errors import InputError
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
        before = _matrix(base)
        _check(tuned)
        factors = _lora(tuned)
        if factors is None:
            change = _matrix(tuned) - before
            norm = float(change.norm())
            parts = _largest(change) if norm else None
        else:
            parts = _of_product(*factors)
            norm = float(parts[1].norm())
        if parts is not None and norm:
            yield Delta(layer, path, *parts, norm, float(before.norm()))


def _check(module: Any) -> None:
    """Refuse adapters whose change is not the product of two factors."""
    other = hasattr(module, "base_layer") and not hasattr(module, "lora_A")
    if other or len(getattr(module, "lora_magnitude_vector", ())):
        raise InputError(
            "The adapter is no plain LoRA: what it does to a matrix cannot be read from it.",
            "Merge it into the weights, and give those.",
        )


def _matrix(module: Any) -> Tensor:
    """Return the weight as `[out, in]`, float32."""
    plain = getattr(module, "base_layer", module)
    weight: Tensor = plain.weight.float()
    return weight if isinstance(plain, nn.Linear) else weight.T


def _lora(module: Any) -> tuple[Tensor, Tensor] | None:
    """Return the factors `[out, r]` and `[r, in]` of what LoRA adds, if that is what there is."""
    names = [name for name in getattr(module, "lora_A", ()) if name in module.lora_B]
    if not names:
        return None
    outer = [module.lora_B[name].weight.float() * module.scaling[name] for name in names]
    inner = [module.lora_A[name].weight.float() for name in names]
    return torch.cat(outer, dim=1), torch.cat(inner, dim=0)


def _of_product(outer: Tensor, inner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose `outer @ inner` through its small core."""
    left, right = torch.linalg.qr(outer), torch.linalg.qr(inner.T)
    u, values, v = torch.linalg.svd(left.R @ right.R.T, full_matrices=False)
    return left.Q @ u, values, v @ right.Q.T


def _largest(change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest singular components of a matrix; the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        left, values, right = torch.svd_lowrank(change, q=min(RANK, *change.shape), niter=PASSES)
    return left, values, right.T
