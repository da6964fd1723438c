"""Class scores of tokens, and what turns them into probabilities that mean what they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.errors import InputError


class TokenScores(NamedTuple):
    """The scores of one document.

    Attributes:
        offsets: `[tokens, 2]`, the characters of each token, in code points, end exclusive.
        probabilities: `[tokens, labels]`, float32, calibrated; rows sum to 1.
        labels: names of the classes; the first means "nothing here".
    """

    offsets: Tensor
    probabilities: Tensor
    labels: tuple[str, ...]


class DocumentScores(NamedTuple):
    """The scores of documents.

    Attributes:
        probabilities: `[documents, labels]`, float32, calibrated; rows sum to 1.
        labels: names of the classes, one a column; the first means "nothing here".
    """

    probabilities: Tensor
    labels: tuple[str, ...]


def log_odds(logits: Tensor) -> Tensor:
    """Return logits relative to class 0, whose own become zeros: the same probabilities."""
    return logits - logits[..., :1]


@dataclass(frozen=True)
class Calibration:
    """An affine map of the log-odds of each class against class 0.

    One shared scale and no shift is temperature scaling (Guo et al. 2017, "On calibration of
    modern neural networks"); a scale and a shift for each class is vector scaling, with two
    classes Platt's. Class 0 has log-odds zero and stays there.

    Args:
        scale: one factor for each label after the first; empty leaves the scores as they are.
        shift: likewise, added after scaling.

    Raises:
        InputError: they differ in length, or hold NaN or infinity.
    """

    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.shift) or not all(map(isfinite, self.scale + self.shift)):
            raise InputError("A calibration has a finite scale and shift for each label.")

    def __call__(self, logits: Tensor) -> Tensor:
        """Return calibrated log-odds, `[..., labels]`, for logits of the same shape."""
        odds = log_odds(logits)
        if not self.scale:
            return odds
        scale, shift = odds.new_tensor(self._map(odds.shape[-1])).unbind()
        return odds * scale + shift

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return calibrated probabilities, `[..., labels]`, float32."""
        return torch.softmax(self(logits), dim=-1).float()

    def _map(self, labels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the scale and the shift of each label, class 0 counted."""
        none = labels - 1
        return (1.0, *(self.scale or (1.0,) * none)), (0.0, *(self.shift or (0.0,) * none))


def calibrated(logits: Sequence[Tensor], by: Sequence[Calibration]) -> Tensor:
    """Return the calibrated probabilities of several `[n, labels]`, one below the other.

    Args:
        logits: of the same labels; they may differ in n.
        by: the calibration of each.
    """
    joined = torch.cat(list(logits))
    if len(set(by)) == 1:
        return by[0].probabilities(joined)
    maps = joined.new_tensor([one._map(joined.shape[-1]) for one in by])
    lengths = torch.tensor([len(one) for one in logits], device=joined.device)
    scale, shift = maps.repeat_interleave(lengths, dim=0).unbind(1)
    return torch.softmax(log_odds(joined) * scale + shift, dim=-1).float()
