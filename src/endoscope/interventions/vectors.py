"""Vectors and bases as interventions hold them: tuples of finite numbers, checked."""

from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from endoscope.errors import InputError

MAX_NUMBER = 1e6
"""The largest number that a factor or a bias may hold: beyond it lies overflow, not a use."""

_DEPENDENT = 1e-6  # of a unit vector, what is left of it beside those before it


def _vector(vector: tuple[float, ...]) -> tuple[float, ...]:
    if not any(vector):
        raise InputError(
            f"A vector of {len(vector)} zeros has no direction.", "Give one that is not zero."
        )
    return vector


def _rows(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    if not rows:
        raise InputError("A basis without vectors was given.", "Give at least one vector.")
    if len({len(row) for row in rows}) != 1:
        raise InputError("The vectors of a basis differ in length.", "Give each d_model numbers.")
    for row in rows:
        _vector(row)
    return rows


def _basis(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    _rows(rows)
    if len(rows) > len(rows[0]):
        raise InputError(f"{len(rows)} vectors of {len(rows[0])} numbers depend on each other.")
    left = torch.linalg.qr(_units(rows).T).R.diagonal().abs()
    if bool((left < _DEPENDENT).any()):
        raise InputError(
            f"The {len(rows)} vectors of a basis depend on each other.",
            "Leave out those that are combinations of others.",
        )
    return rows


def _plane(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    if len(rows) != 2:
        raise InputError(f"{len(rows)} vectors do not span a plane.", "Give two.")
    return _basis(rows)


# Strictness is for numbers; a list from JSON may stand for a tuple.
_Numbers = Annotated[tuple[float, ...], Field(strict=False)]
_Rows = Annotated[tuple[_Numbers, ...], Field(strict=False)]

Numbers = _Numbers
"""Any finite numbers, `[d_model]`."""
Vector = Annotated[_Numbers, AfterValidator(_vector)]
"""Not zero, `[d_model]`."""
Rows = Annotated[_Rows, AfterValidator(_rows)]
"""Vectors that are not zero, `[k, d_model]`."""
Basis = Annotated[_Rows, AfterValidator(_basis)]
"""Independent vectors, `[k, d_model]`."""
Plane = Annotated[_Rows, AfterValidator(_plane)]
"""Two independent vectors, `[2, d_model]`."""


def bounded(name: str, numbers: Tensor) -> None:
    """Refuse numbers beyond `MAX_NUMBER`.

    Raises:
        InputError: one of them is.
    """
    if bool((numbers.abs() > MAX_NUMBER).any()):
        raise InputError(f"{name} holds a number beyond {MAX_NUMBER:g}.", "Scale it down.")


def unit(vector: tuple[float, ...]) -> Tensor:
    """Return the vector at length 1, `[1, d_model]`, float64."""
    return _units((vector,))


def orthonormal(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return an orthonormal basis of what the rows span, `[k, d_model]`, float64.

    The first row keeps its direction and each one after it keeps its side (Gram-Schmidt), so that
    the sense of a rotation is that of the vectors given.
    """
    q, r = torch.linalg.qr(_units(rows).T)
    basis: Tensor = (q * r.diagonal().sign()).T.contiguous()
    return basis


def _units(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float64)
    matrix = matrix / matrix.abs().amax(1, keepdim=True)  # so that no square over- or underflows
    units: Tensor = matrix / matrix.norm(dim=1, keepdim=True)
    return units
