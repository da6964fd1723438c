"""The operations: frozen models that say what is changed, and their form in the algebra."""

from abc import abstractmethod
from collections.abc import Iterator
from math import radians
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema
from torch import Tensor

from endoscope.errors import InputError
from endoscope.interventions.gate import Gate
from endoscope.interventions.lowrank import LowRank, low_rank
from endoscope.interventions.strict import Strict
from endoscope.interventions.vectors import (
    MAX_NUMBER,
    Basis,
    Numbers,
    Plane,
    Rows,
    Vector,
    bounded,
    orthonormal,
    unit,
)
from endoscope.models.sites import Site

Units = Literal["norm", "absolute"]
Positions = Literal["all", "prompt", "generated"] | tuple[int, ...]

MAX_NORMS = 100
"""How far an intervention may move a vector, in typical norms of its site."""
MAX_FACTOR = 100
MAX_POSITION = 1 << 31  # beyond any text


def _site(value: Any) -> Site:
    if not isinstance(value, str | Site):
        raise InputError("A site is text.", "Write kind.layer, such as resid_post.12.")
    return Site.parse(value)


def _positions(value: Any) -> Positions:
    match value:
        case "all" | "prompt" | "generated":
            return value  # type: ignore[no-any-return]
    hint = 'Give "all", "prompt", "generated", or a list of whole numbers from 0.'
    if not isinstance(value, list | tuple) or not value:
        raise InputError("These are no positions.", hint)
    if not all(type(position) is int and 0 <= position < MAX_POSITION for position in value):
        raise InputError("A position is negative, too large or no whole number.", hint)
    return tuple(value)


class Intervention(Strict):
    """A change to activations at a site while the model runs.

    JSON (`model_dump(mode="json")`, `parse_interventions`) holds it exactly.

    Attributes:
        kind: which operation it is.
        site: where.
        positions: at which tokens, by absolute index. `generated` starts at the last token of the
            prompt, whose output is the first token that is sampled; `prompt` is what comes before.
        keep_norm: restore the norm of each vector afterwards.
        gate: act only where a probe says so.
    """

    kind: str
    site: Annotated[
        Site,
        PlainValidator(_site),
        PlainSerializer(str),
        WithJsonSchema({"type": "string", "examples": ["resid_post.12"]}),
    ]
    positions: Annotated[
        Positions,
        PlainValidator(_positions),
        PlainSerializer(lambda given: given if isinstance(given, str) else list(given)),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["all", "prompt", "generated"]},
                    {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 0, "maximum": MAX_POSITION - 1},
                        "minItems": 1,
                    },
                ],
                "default": "all",
            }
        ),
    ] = "all"
    keep_norm: bool = False
    gate: Gate | None = None

    @property
    @abstractmethod
    def d_model(self) -> int:
        """Width of the vectors that it was given."""

    @property
    def measured(self) -> bool:
        """Whether the typical norm matters: to its strength, or to how large that may be."""
        return False

    @abstractmethod
    def form(self, typical_norm: float) -> LowRank:
        """Return the operation in the algebra.

        Args:
            typical_norm: of the site: what strengths in `norm` units are multiples of.

        Raises:
            InputError: it would move vectors further than `MAX_NORMS` typical norms.
        """

    def __neg__(self) -> Self:
        raise self._only_add()

    def __mul__(self, factor: float) -> Self:
        raise self._only_add()

    def __rmul__(self, factor: float) -> Self:
        return self * factor

    def _only_add(self) -> InputError:
        return InputError(
            f"An intervention of kind {self.kind!r} can be neither negated nor scaled.",
            "Only additions can; compose others as a list.",
        )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in self:
            if name == "kind" or value == type(self).model_fields[name].default:
                continue
            yield name, _short(value) if name in ("site", *_VECTORS) else value


_VECTORS = ("vector", "basis", "plane", "left", "right", "mean", "encoder", "decoder")


class _Brief:
    """Text that stands for a value in a `repr`, without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _short(value: Any) -> _Brief:
    if isinstance(value, Site):
        return _Brief(f"'{value}'")
    if isinstance(value[0], tuple):
        return _Brief(f"<{len(value)} x {len(value[0])} numbers>")
    return _Brief(f"<{len(value)} numbers>")


def _within(name: str, distance: float, typical_norm: float) -> None:
    if abs(distance) > MAX_NORMS * typical_norm:
        raise InputError(
            f"{name} is {abs(distance) / typical_norm:.3g} times the typical norm at its site.",
            f"Give at most {MAX_NORMS} times; what steers is mostly between 0.05 and 1.",
        )


class Add(Intervention):
    """Adds `strength` times the unit vector.

    Attributes:
        vector: its direction; its length does not count, `[d_model]`.
        strength: how far; negative: the other way.
        units: of the strength: the site's typical norm, or absolute.
    """

    kind: Literal["add"] = "add"
    vector: Vector
    strength: float
    units: Units = "norm"

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.units == "norm":
            _within("The strength", self.strength, 1)
        return self

    @property
    def d_model(self) -> int:
        """Width of the vectors that it was given."""
        return len(self.vector)

    @property
    def measured(self) -> bool:
        """Whether the typical norm matters: to its strength, or to how large that may be."""
        return True

    def form(self, typical_norm: float) -> LowRank:
        """`A = 0, c = strength, B = v`."""
        v = unit(self.vector)
        distance = _absolute("The strength", self.strength, self.units, typical_norm)
        return low_rank(torch.zeros_like(v), v, c=distance)

    def __neg__(self) -> Self:
        return -1 * self

    def __mul__(self, factor: float) -> Self:
        return type(self)(**{**dict(self), "strength": self.strength * factor})


class Ablate(Intervention):
    """Removes the component within the span of a basis.

    Attributes:
        basis: vectors that span it, `[k, d_model]`; they are orthonormalised.
    """

    kind: Literal["ablate"] = "ablate"
    basis: Basis

    @property
    def d_model(self) -> int:
        """Width of the vectors that it was given."""
        return len(self.basis[0])

    def form(self, typical_norm: float) -> LowRank:
        """`A = V, B = -V`."""
        v = orthonormal(self.basis)
        return low_rank(v, -v)


class Clamp(Intervention):
    """Sets the coordinate along the unit vector.

    Attributes:
        vector: its direction; its length does not count, `[d_model]`.
        value: what the coordinate becomes.
        units: of the value: the site's typical norm, or absolute.
    """

    kind: Literal["clamp"] = "clamp"
    vector: Vector
    value: float
    units: Units = "norm"

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.units == "norm":
            _within("The value", self.value, 1)
        return self

    @property
    def d_model(self) -> int:
        """Width of the vectors that it was given."""
        return len(self.vector)

    @property
    def measured(self) -> bool:
        """Whether the typical norm matters: to its strength, or to how large that may be."""
        return True

    def form(self, typical_norm: float) -> LowRank:
        """`A = v, c = -value, B = -v`."""
        v = unit(self.vector)
        return low_rank(v, -v, c=-_absolute("The value", self.value, self.units, typical_norm))


class Scale(Intervention):
    """Multiplies the component within the span of a basis.

    Attributes:
        basis: vectors that span it, `[k, d_model]`; they are orthonormalised.
        factor: 1 leaves it, 0 ablates it, -1 reflects it.
    """

    kind: Literal["scale"] = "scale"
    basis: Basis
    factor: Annotated[float, Field(ge=-MAX_FACTOR, le=MAX_FACTOR)]

    @property
    def d_model(self) -> int:
        """Width of the vectors that it was given."""
        return len(self.basis[0])

    def form(self, typical_norm: float) -> LowRank:
        """`A = V, B = (factor - 1) V`."""
        v = orthonormal(self.basis)
        return low_rank(v, (self.factor - 1) * v)


class Rotate(Intervention):
    """Turns the component within a plane.

    Attributes:
        plane: two vectors that span it, `[2, d_model]`; they are orthonormalised.
        degrees: by how much, from the first vector towards the second.
    """

    kind: Literal["rotate"] = "rotate"
    plane: Plane
    degrees: Annotated[float, Field(ge=-360, le=360)]

    @property
    def d_model(self) -> int:
        """Width of the vectors that it was given."""
        return len(self.plane[0])

    def form(self, typical_norm: float) -> LowRank:
        """`A = V, B = (R - 1) V`, where R turns coordinates within the plane."""
        v = orthonormal(self.plane)
        angle = torch.tensor(radians(self.degrees), dtype=torch.float64)
        # Rows: what becomes of the first unit vector, and of the second.
        turned = torch.stack(
            [angle.cos() * v[0] + angle.sin() * v[1], angle.cos() * v[1] - angle.sin() * v[0]]
        )
        return low_rank(v, turned - v)


class Erase(Intervention):
    """Applies an affine erasure, `h - P (h - mean)` with `P = left^T right`.

    With the factors of LEACE no linear probe can find the concept again, at the least change of
    the vectors (Belrose et al. 2023, "LEACE: Perfect linear concept erasure in closed form").

    Attributes:
        left: where the change points, `[k, d_model]`.
        right: what is read, `[k, d_model]`.
        mean: of the activations, `[d_model]`.
    """

    kind: Literal["erase"] = "erase"
    left: Rows
    right: Rows
    mean: Numbers

    @model_validator(mode="after")
    def _fit(self) -> Self:
        left, right = (len(self.left), len(self.left[0])), (len(self.right), len(self.right[0]))
        if left != right or len(self.mean) != left[1]:
            raise InputError(
                f"left is {list(left)}, right {list(right)} and mean [{len(self.mean)}].",
                "Give [k, d_model], [k, d_model] and [d_model].",
            )
        for name in ("left", "right", "mean"):
            bounded(name, torch.tensor(getattr(self, name), dtype=torch.float64))
        return self

    @property
    def d_model(self) -> int:
        """Width of the vectors that it was given."""
        return len(self.mean)

    def form(self, typical_norm: float) -> LowRank:
        """`A = right, b = -right mean, B = -left`."""
        left, right, mean = map(_tensor, (self.left, self.right, self.mean))
        return low_rank(right, -left, b=-right @ mean)


class ClampFeature(Intervention):
    """Sets a feature of a sparse autoencoder, `h + (value - f(h)) decoder`.

    What the autoencoder does not reconstruct stays as it is. `f = phi(encoder . h + encoder_bias)`
    with `phi(z) = z where z > threshold, else 0`; a bias that is subtracted before the encoder
    belongs into `encoder_bias`. Templeton et al. 2024, "Scaling monosemanticity".

    Attributes:
        encoder: the feature's row of the encoder, `[d_model]`.
        encoder_bias: its bias.
        decoder: the feature's row of the decoder, at the length that it has, `[d_model]`.
        value: what the feature becomes.
        activation: `relu`, or `jumprelu` with a threshold.
        threshold: of a JumpReLU.
    """

    kind: Literal["clamp_feature"] = "clamp_feature"
    encoder: Vector
    encoder_bias: float = 0.0
    decoder: Vector
    value: float
    activation: Literal["relu", "jumprelu"] = "relu"
    threshold: Annotated[float, Field(ge=0, le=MAX_NUMBER)] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _no_top_k(cls, fields: Any) -> Any:
        activation = fields.get("activation") if isinstance(fields, dict) else None
        if isinstance(activation, str) and "topk" in activation.lower().replace("_", ""):
            raise InputError(
                "TopK is refused: whether a feature is active depends on all the others.",
                "Use a ReLU or JumpReLU autoencoder, or give jumprelu with the threshold that was "
                "fitted for this one.",
            )
        return fields

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(self.encoder) != len(self.decoder):
            raise InputError(
                f"The encoder's row has {len(self.encoder)} numbers, the decoder's "
                f"{len(self.decoder)}.",
                "Give d_model numbers each.",
            )
        if self.activation == "relu" and self.threshold:
            raise InputError("A ReLU has no threshold.", 'Say "activation": "jumprelu".')
        bounded("encoder", _tensor(self.encoder))
        bounded("decoder", _tensor(self.decoder))
        bounded("encoder_bias", _tensor([self.encoder_bias]))
        return self

    @property
    def d_model(self) -> int:
        """Width of the vectors that it was given."""
        return len(self.encoder)

    @property
    def measured(self) -> bool:
        """Whether the typical norm matters: to its strength, or to how large that may be."""
        return True

    def form(self, typical_norm: float) -> LowRank:
        """`A = encoder, b = its bias, theta = threshold, c = -value, B = -decoder`."""
        encoder, decoder = _tensor([self.encoder]), _tensor([self.decoder])
        distance = self.value * float(decoder.norm())
        _within("value times the decoder's length", distance, typical_norm)
        return low_rank(encoder, -decoder, b=self.encoder_bias, c=-self.value, theta=self.threshold)


OPERATIONS: dict[str, type[Intervention]] = {
    model.model_fields["kind"].default: model
    for model in (Add, Ablate, Clamp, Scale, Rotate, Erase, ClampFeature)
}
"""The operations by their `kind`."""

AnyIntervention = Annotated[
    Add | Ablate | Clamp | Scale | Rotate | Erase | ClampFeature, Field(discriminator="kind")
]
"""For pydantic models and JSON Schema."""


def _tensor(numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _absolute(name: str, amount: float, units: Units, typical_norm: float) -> float:
    distance = amount * typical_norm if units == "norm" else amount
    _within(name, distance, typical_norm)
    return distance
