"""What workers say of a request, as plain values that travel with its tokens."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from endoscope.models.sites import Site
from endoscope.readouts import PositionScores

Scores = Mapping[str, Sequence[PositionScores]]


@dataclass(frozen=True)
class Report:
    """What one forward pass brought for one request.

    Attributes:
        scores: that have become final, by readout; positions are absolute.
        rest: those that would follow if the text ended here.
        values: of the sites that were asked for, `[tokens, d_model]`, of the next tokens.
        fault: why there is no more, if there is none.
    """

    scores: Scores = field(default_factory=dict)
    rest: Scores = field(default_factory=dict)
    values: Mapping[Site, Tensor] = field(default_factory=dict)
    fault: str | None = None

    def joined(self, other: "Report") -> "Report":
        """Return what two stages of a pipeline brought, each for readouts and sites of its own."""
        return Report(
            {**self.scores, **other.scores},
            {**self.rest, **other.rest},
            {**self.values, **other.values},
            self.fault or other.fault,
        )

    def plain(self) -> dict[str, Any]:
        """Return what there is of it in lists, texts and bytes; `read` makes it again, exactly."""
        plain: dict[str, Any] = {}
        if self.scores:
            plain["scores"] = _packed(self.scores)
        if self.rest:
            plain["rest"] = _packed(self.rest)
        if self.values:
            plain["values"] = {str(site): _bytes(value) for site, value in self.values.items()}
        if self.fault is not None:
            plain["fault"] = self.fault
        return plain

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Report":
        """Make a report from what `plain` gave."""
        values = plain.get("values", {})
        return cls(
            _unpacked(plain.get("scores", {})),
            _unpacked(plain.get("rest", {})),
            {Site.parse(site): _tensor(*packed) for site, packed in values.items()},
            plain.get("fault"),
        )


def first_fault(reports: Iterable[Report]) -> str | None:
    """Return why a request has failed; None: it has not."""
    return next((one.fault for one in reports if one.fault), None)


def _packed(scores: Scores) -> dict[str, list[Any]]:
    """Return positions and probabilities by readout, in lists: mostly they are of one token."""
    return {
        name: [[one.position for one in own], [one.probabilities.tolist() for one in own]]
        for name, own in scores.items()
    }


def _unpacked(packed: Mapping[str, Any]) -> Scores:
    return {
        name: [
            PositionScores(at, row)
            for at, row in zip(positions, torch.tensor(rows).unbind(), strict=True)
        ]
        for name, (positions, rows) in packed.items()
    }


def _bytes(rows: Tensor) -> list[Any]:
    """Return rows in float32 as bytes, and their shape."""
    return [rows.float().cpu().contiguous().numpy().tobytes(), list(rows.shape)]


def _tensor(data: bytes, shape: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, np.float32).reshape(tuple(shape)).copy())
