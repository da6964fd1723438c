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
        """Return it in lists, texts and bytes; `read` makes it again, exactly."""
        return {
            "scores": {name: _packed(scores) for name, scores in self.scores.items()},
            "rest": {name: _packed(scores) for name, scores in self.rest.items()},
            "values": {str(site): _bytes(value) for site, value in self.values.items()},
            "fault": self.fault,
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Report":
        """Make a report from what `plain` gave."""
        return cls(
            {name: _unpacked(*packed) for name, packed in plain["scores"].items()},
            {name: _unpacked(*packed) for name, packed in plain["rest"].items()},
            {Site.parse(site): _tensor(*packed) for site, packed in plain["values"].items()},
            plain["fault"],
        )


def first_fault(reports: Iterable[Report]) -> str | None:
    """Return why a request has failed; None: it has not."""
    return next((one.fault for one in reports if one.fault), None)


def _packed(scores: Sequence[PositionScores]) -> list[Any]:
    rows = torch.stack([one.probabilities.float().cpu() for one in scores])
    return [[one.position for one in scores], *_bytes(rows)]


def _unpacked(positions: Iterable[int], data: bytes, shape: Sequence[int]) -> list[PositionScores]:
    rows = _tensor(data, shape)
    return [PositionScores(at, row) for at, row in zip(positions, rows, strict=True)]


def _bytes(rows: Tensor) -> list[Any]:
    """Return rows in float32 as bytes, and their shape."""
    return [rows.float().cpu().contiguous().numpy().tobytes(), list(rows.shape)]


def _tensor(data: bytes, shape: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, np.float32).reshape(tuple(shape)).copy())
