"""A probe without its evidence: all that scoring needs, in memory or as JSON."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import torch

from endoscope.errors import InputError
from endoscope.readouts.features import FeatureSpec
from endoscope.readouts.heads import Head, LinearHead, head_from_tensors
from endoscope.readouts.incremental import IncrementalScorer
from endoscope.readouts.pooling import Pooling
from endoscope.readouts.scores import Calibration


@dataclass(frozen=True)
class Readout:
    """What turns rows of activations into calibrated probabilities.

    A request carries one for each probe that is to read it, a gate carries its own.

    Attributes:
        spec: which rows become features.
        head: scores features.
        calibration: of token logits, or of document logits where there is a pooling.
        pooling: makes document scores from those of tokens; None scores tokens.

    Raises:
        InputError: head and calibration have not the same labels.
    """

    spec: FeatureSpec
    head: Head
    calibration: Calibration = field(default_factory=Calibration)
    pooling: Pooling | None = None

    def __post_init__(self) -> None:
        if len(self.calibration.scale) not in (0, len(self.labels) - 1):
            raise InputError(
                "The calibration of a readout does not have the labels of its head.",
                "Give a scale and a shift for each label but the first.",
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; the first means "nothing here"."""
        return self.head.labels

    @cached_property
    def alike(self) -> Hashable:
        """Equal for readouts whose streams may be pushed together (`JointScorer`).

        Those are linear heads of one shape on the same features, and each with itself.
        """
        if isinstance(self.head, LinearHead) and self.pooling is None:
            return self.spec, self.head.projection.shape
        return id(self)

    def stream(self) -> IncrementalScorer:
        """Return a scorer for one document that takes rows as decoding produces them.

        Raises:
            InputError: the features need a second reading of the text.
        """
        return IncrementalScorer(self.spec, self.head, self.calibration, self.pooling)

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it; `from_record` makes the same again, exactly."""
        return {
            "sites": [str(site) for site in self.spec.sites],
            "look_ahead": self.spec.look_ahead,
            "readings": self.spec.readings,
            "head": self.head.config(),
            "tensors": {name: t.tolist() for name, t in self.head.tensors().items()},
            "calibration": {
                "scale": list(self.calibration.scale),
                "shift": list(self.calibration.shift),
            },
            "pooling": None if self.pooling is None else str(self.pooling),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Make a readout from what `record` gave.

        Raises:
            InputError: something is missing or does not fit together.
        """
        try:
            spec = FeatureSpec(
                tuple(record["sites"]), record.get("look_ahead", 0), record.get("readings", 1)
            )
            tensors = {
                name: torch.tensor(values, dtype=torch.float32)
                for name, values in record["tensors"].items()
            }
            calibration = record.get("calibration") or {}
            scale = tuple(map(float, calibration.get("scale", ())))
            shift = tuple(map(float, calibration.get("shift", ())))
            pooling = Pooling.parse(record["pooling"]) if record.get("pooling") else None
            head = head_from_tensors(record["head"], tensors)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"This is no readout ({type(error).__name__}: {error}).",
                "Give sites, head, tensors and calibration, as Readout.record() writes them.",
            ) from None
        if not all(torch.isfinite(t).all() for t in tensors.values()):
            raise InputError("The tensors of a readout hold NaN or infinity.")
        return cls(spec, head, Calibration(scale, shift), pooling)

    def __repr__(self) -> str:
        sites = ", ".join(map(str, self.spec.sites))
        return f"Readout({', '.join(self.labels)} at {sites}, {self.head.kind} head)"
