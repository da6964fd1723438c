"""Interventions from directions and tensors, for people who write Python."""

from typing import Any, Protocol

import torch
from torch import Tensor

from endoscope.errors import InputError
from endoscope.interventions.gate import Gate
from endoscope.interventions.operations import (
    Ablate,
    Add,
    Clamp,
    ClampFeature,
    Erase,
    Positions,
    Rotate,
    Scale,
    Units,
)
from endoscope.models.sites import Site


class HasBasis(Protocol):
    """What a `Direction` has: a site, and a basis `[k, d_model]` there."""

    @property
    def site(self) -> Site:
        """Where it is."""
        ...

    @property
    def basis(self) -> Tensor:
        """`[k, d_model]`."""
        ...


class HasErasure(Protocol):
    """What a `Direction` that was fitted with LEACE has: a site and three factors there."""

    @property
    def site(self) -> Site:
        """Where it is."""
        ...

    @property
    def erasure(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Left `[k, d_model]`, right `[k, d_model]` and mean `[d_model]`."""
        ...


Directed = HasBasis | Tensor
"""A direction or subspace, or a tensor `[d_model]` or `[k, d_model]`, which needs a site."""


def add(
    direction: Directed,
    strength: float,
    *,
    site: Site | str | None = None,
    units: Units = "norm",
    positions: Positions = "all",
    keep_norm: bool = False,
    gate: Gate | None = None,
) -> Add:
    """Add `strength` times the unit vector.

    Args:
        direction: which way.
        strength: how far: in typical norms of the site, or absolute.
        site: where; needed with a tensor, else the direction's own unless it is given.
        units: `norm` or `absolute`.
        positions: `all`, `prompt`, `generated`, or absolute indices of tokens.
        keep_norm: restore the norm of each vector afterwards.
        gate: act only where a probe says so.

    Raises:
        InputError: it is more than one vector, zero or not finite, or the strength is too large.

    Example:
        >>> with model.intervene(add(direction, strength=4)):
        ...     model.generate(["Tell me of your day."])
    """
    return Add(
        vector=_vector(direction, "add"),
        strength=strength,
        units=units,
        **_common(direction, site, positions, keep_norm, gate),
    )


def ablate(
    direction: Directed,
    *,
    site: Site | str | None = None,
    positions: Positions = "all",
    keep_norm: bool = False,
    gate: Gate | None = None,
) -> Ablate:
    """Remove the component within a direction or subspace; arguments as for `add`."""
    return Ablate(basis=_basis(direction), **_common(direction, site, positions, keep_norm, gate))


def clamp(
    direction: Directed,
    value: float,
    *,
    site: Site | str | None = None,
    units: Units = "norm",
    positions: Positions = "all",
    keep_norm: bool = False,
    gate: Gate | None = None,
) -> Clamp:
    """Set the coordinate along a direction to a value; arguments as for `add`."""
    return Clamp(
        vector=_vector(direction, "clamp"),
        value=value,
        units=units,
        **_common(direction, site, positions, keep_norm, gate),
    )


def scale(
    direction: Directed,
    factor: float,
    *,
    site: Site | str | None = None,
    positions: Positions = "all",
    keep_norm: bool = False,
    gate: Gate | None = None,
) -> Scale:
    """Multiply the component within a direction or subspace; arguments as for `add`."""
    return Scale(
        basis=_basis(direction),
        factor=factor,
        **_common(direction, site, positions, keep_norm, gate),
    )


def rotate(
    plane: Directed,
    degrees: float,
    *,
    site: Site | str | None = None,
    positions: Positions = "all",
    keep_norm: bool = False,
    gate: Gate | None = None,
) -> Rotate:
    """Turn the component within a plane, from its first vector towards its second.

    Other arguments as for `add`.
    """
    return Rotate(
        plane=_basis(plane), degrees=degrees, **_common(plane, site, positions, keep_norm, gate)
    )


def erase(
    left: HasErasure | Tensor,
    right: Tensor | None = None,
    mean: Tensor | None = None,
    *,
    site: Site | str | None = None,
    positions: Positions = "all",
    keep_norm: bool = False,
    gate: Gate | None = None,
) -> Erase:
    """Apply the affine erasure `h - P (h - mean)` with `P = left^T right`, such as LEACE's.

    Args:
        left: a direction that was fitted with LEACE, which brings all three; or the tensor where
            the change points, `[k, d_model]`.
        right: what is read, `[k, d_model]`.
        mean: `[d_model]`.
        site: as for `add`; so are the other arguments.

    Raises:
        InputError: the direction has no erasure, or a factor is missing or does not fit.
    """
    common = _common(left, site, positions, keep_norm, gate)
    if not isinstance(left, Tensor):
        if left.erasure is None:
            raise InputError(
                "This direction has no erasure.", "Fit it with leace, or ablate it instead."
            )
        left, right, mean = left.erasure
    if right is None or mean is None:
        raise InputError("An erasure has three factors.", "Give left, right and mean.")
    return Erase(left=_basis(left), right=_basis(right), mean=_numbers(mean), **common)


def clamp_feature(
    encoder: Tensor,
    decoder: Tensor,
    value: float,
    *,
    site: Site | str,
    encoder_bias: float = 0.0,
    threshold: float | None = None,
    positions: Positions = "all",
    keep_norm: bool = False,
    gate: Gate | None = None,
) -> ClampFeature:
    """Set a feature of a sparse autoencoder to a value.

    Args:
        encoder: the feature's row of the encoder, `[d_model]`.
        decoder: the feature's row of the decoder, `[d_model]`.
        value: what the feature becomes.
        site: where the autoencoder was trained.
        encoder_bias: the feature's.
        threshold: of a JumpReLU; None: a ReLU.
        positions: as for `add`; so are the other arguments.
    """
    return ClampFeature(
        encoder=_numbers(encoder),
        encoder_bias=encoder_bias,
        decoder=_numbers(decoder),
        value=value,
        activation="relu" if threshold is None else "jumprelu",
        threshold=threshold or 0.0,
        **_common(encoder, site, positions, keep_norm, gate),
    )


def _common(
    direction: HasBasis | HasErasure | Tensor,
    site: Site | str | None,
    positions: Positions,
    keep_norm: bool,
    gate: Gate | None,
) -> dict[str, Any]:
    if site is None:
        if not hasattr(direction, "site"):
            raise InputError("A tensor does not say where it belongs.", 'Give site="kind.layer".')
        site = direction.site
    return {"site": site, "positions": positions, "keep_norm": keep_norm, "gate": gate}


def _vector(direction: Directed, verb: str) -> tuple[float, ...]:
    rows = _basis(direction)
    if len(rows) != 1:
        raise InputError(
            f"To {verb} takes one direction, not a subspace of {len(rows)}.",
            "Give one vector; ablate and scale take subspaces.",
        )
    return rows[0]


def _basis(direction: Directed) -> tuple[tuple[float, ...], ...]:
    try:  # numbers of other kinds serve as well: lists, arrays
        tensor = torch.as_tensor(getattr(direction, "basis", direction))
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"A direction is a Direction or numbers, not {type(direction).__name__}.",
            "Give a Direction, or a tensor with site=.",
        ) from None
    if tensor.ndim not in (1, 2):
        raise InputError(
            f"A direction of shape {list(tensor.shape)} was given.",
            "Give [d_model] or [k, d_model].",
        )
    rows = tensor if tensor.ndim == 2 else tensor[None]
    return tuple(tuple(row) for row in rows.detach().double().tolist())


def _numbers(vector: Tensor) -> tuple[float, ...]:
    if vector.ndim != 1:
        raise InputError(f"A vector of shape {list(vector.shape)} was given.", "Give [d_model].")
    return tuple(vector.detach().double().tolist())
