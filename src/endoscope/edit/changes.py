"""What an edit does to matrices: low-rank changes, and how interventions become them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions import Intervention, LowRank
from endoscope.models import Site
from endoscope.models.matrices import Matrix, matrix_at, writers


class Change(NamedTuple):
    """What is done to a matrix and its bias: `W + outer @ inner`, `bias + shift`.

    Its tensors are on the CPU, wherever the model is.

    Attributes:
        outer: `[out, r]`.
        inner: `[r, in]`, or `[experts, r, in]`.
        shift: `[out]`, if the bias changes.
    """

    outer: Tensor
    inner: Tensor
    shift: Tensor | None = None


Changes = Mapping[str, Change]
"""By the name of the matrix (see `Matrix`)."""


def changes_of(model: Model, interventions: Iterable[Intervention]) -> dict[str, Change]:
    """Return the changes of matrices that do exactly what interventions do.

    Args:
        model: that is changed.
        interventions: in the order in which they apply.

    Raises:
        InputError: they are not exact as weights; says why, and what is exact that is nearest.
    """
    at: dict[Site, list[LowRank]] = {}
    for number, one in enumerate(interventions, start=1):
        with _named(number, one):
            norm = model.typical_norm(one.site) if one.measured else 1.0
            form = one.form(norm)
            _check_affine(one, form)
            writers(model.loaded, one.site)  # where there are none, it is this one that says so
            at.setdefault(one.site, []).append(form)
    found = {}
    for site, forms in at.items():
        for matrix in writers(model.loaded, site):
            found[matrix.name] = change_of(matrix, forms)
    return found


def onto_base(module: nn.Module, changes: Changes) -> dict[str, Change]:
    """Return what an adapter and changes add together to the matrices of the base.

    Args:
        module: the model, with the adapter, if it has one.
        changes: that come after it.

    Raises:
        InputError: what the adapter adds cannot be read from it.
    """
    found = dict(changes)
    for name, held in module.named_modules():
        if hasattr(held, "base_layer"):
            factors = matrix_at(module, name).factors
            if factors is not None:
                outer, inner = (one.double().cpu() for one in factors)
                after = changes.get(name, Change(outer[:, :0], inner[:0]))
                together = torch.cat([outer, after.outer], 1), torch.cat([inner, after.inner])
                found[name] = Change(*together, after.shift)
    return found


@contextmanager
def _named(number: int, one: Intervention) -> Iterator[None]:
    """Say of which intervention it is that something is wrong."""
    try:
        yield
    except InputError as error:
        message = f"Intervention {number} ({one.kind} at {one.site}) cannot be weights: "
        raise InputError(message + error.message, error.hint) from None


def _check_affine(one: Intervention, form: LowRank) -> None:
    """Refuse what does not do the same affine thing to every token."""
    nearest = "Nearest that is exact: the same without it; or keep it live."
    if one.gate is not None:
        raise InputError("it waits for a gate, and weights act always.", nearest)
    if one.positions != "all":
        raise InputError("it acts at some positions, and weights at all.", nearest)
    if one.keep_norm:
        raise InputError("it keeps the norm, which no product with a matrix does.", nearest)
    if bool((form.theta > float("-inf")).any()):
        raise InputError(
            "it acts above a threshold, which no product with a matrix does.",
            "Nearest that is exact: an ablation of its decoder's direction; or keep it live.",
        )


def change_of(matrix: Matrix, forms: Iterable[LowRank]) -> Change:
    """Return the change of a matrix that does what forms do to its output, one after the other.

    Raises:
        InputError: a constant is to be added, and the matrix has no bias.
    """
    weight, bias = matrix.whole.cpu(), None if matrix.bias is None else matrix.bias.double().cpu()
    out = weight.shape[-2]
    outer, shift = weight.new_zeros(out, 0), weight.new_zeros(out)
    inner = weight.new_zeros(*weight.shape[:-2], 0, weight.shape[-1])
    for form in forms:
        # y' = y + B^T (A y + b + c), where y is what the matrix gives as it is by now
        given = shift if bias is None else bias + shift
        shift = shift + form.B.T @ (form.A @ given + form.b + form.c)
        read = form.A @ weight + (form.A @ outer) @ inner
        outer, inner = torch.cat([outer, form.B.T], -1), torch.cat([inner, read], -2)
    if bias is None and bool((shift != 0).any()):
        raise InputError(
            f"{matrix.name} has no bias that could hold a constant.",
            "Nearest that is exact: an ablation, or a scale; or keep it live.",
        )
    return Change(outer, inner, None if bias is None else shift)
