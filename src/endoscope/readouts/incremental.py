"""Scores of tokens while they are being decoded."""

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.errors import InputError
from endoscope.models.sites import Site
from endoscope.readouts.features import FeatureSpec
from endoscope.readouts.heads import Head, LinearHead, exact
from endoscope.readouts.pooling import Pooled, Pooling
from endoscope.readouts.scores import Calibration, calibrated


class PositionScores(NamedTuple):
    """The scores `[labels]` of a token; with a pooling, of the document up to and with it."""

    position: int
    probabilities: Tensor


class IncrementalScorer:
    """Takes rows as decoding produces them, gives scores as soon as they are final.

    The score of a token comes `look_ahead` tokens after it, and is the one that scoring the whole
    document at once would give, whatever the pieces. With a pooling it is the score of the document
    up to and with that token. Rows of added special tokens (BOS) are not
    to be pushed; batch scoring leaves them out too.

    A head begins with a linear projection of the features, and the features of a token are rows
    side by side: its own and those of the tokens that follow. So a row is projected once, when it
    comes, and what it adds to its own token and to those before it is all that is kept of it.

    Args:
        spec: which rows become features.
        head: what scores them.
        calibration: applied to the logits of tokens, or of the document where there is a pooling.
        pooling: with it scores are of the document so far, at no cost that grows with it.

    Raises:
        InputError: the features need a second reading of the text, which a stream cannot have.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        head: Head,
        calibration: Calibration | None = None,
        pooling: Pooling | None = None,
    ) -> None:
        if spec.readings != 1:
            raise InputError(
                "This probe reads the whole text twice, so it cannot score a stream.",
                "Score finished text with it, or fit a probe with readings=1 and a look-ahead.",
            )
        self.spec = spec
        self.head = head
        self.calibration = calibration or Calibration()
        self._pooled = None if pooling is None else pooling.start()
        # Sums of the last `look_ahead` tokens, which still wait for others to add to them.
        self._waiting: Tensor | None = None
        self._weights: Tensor | None = None
        self._before: Tensor | None = None  # projected, still within the head's history
        self._pushed = 0
        self._scored = 0
        self._finished = False

    @property
    def latency(self) -> int:
        """How many tokens after a token its score comes."""
        return self.spec.look_ahead

    def push(self, rows: Mapping[Site, Tensor]) -> list[PositionScores]:
        """Take the next rows, `[n, d_model]` for each site, and return what they settle.

        Raises:
            InputError: a site is missing, sites differ in length, or the stream has ended.
        """
        return JointScorer([self]).push({site: value[None] for site, value in rows.items()})[0]

    def finish(self) -> list[PositionScores]:
        """Return the scores of the tokens that were still waiting for others; ends the stream."""
        self._finished = True
        left = min(self._pushed, self.spec.look_ahead)
        if not left or self._waiting is None:
            return []
        logits = self._logits(self._waiting[-left:])
        return self._numbered(self.calibration.probabilities(logits).unbind())

    def rest(self) -> list[PositionScores]:
        """Return what `finish` would, and go on as if it had not been asked."""
        if not self.spec.look_ahead:
            return []
        twin = copy(self)
        twin._pooled = deepcopy(self._pooled)
        return twin.finish()

    def _check(self, rows: Mapping[Site, Tensor]) -> None:
        missing = [str(site) for site in self.spec.sites if site not in rows]
        if missing:
            raise InputError(f"Rows of {', '.join(missing)} are missing.", "Push every site.")
        if len({rows[site].shape[:2] for site in self.spec.sites}) != 1:
            raise InputError("The sites were pushed with different numbers of rows.")

    def _weight(self, like: Tensor) -> Tensor:
        """What a row adds: `[sites * d_model, (look_ahead + 1) * outputs]`, its own token first."""
        if self._weights is None:
            outputs = torch.unflatten(self.head.projection, 1, (self.spec.look_ahead + 1, -1))
            self._weights = exact(outputs.permute(2, 1, 0).flatten(1).to(like.device))
        return self._weights

    def _still_waiting(self, like: Tensor) -> Tensor:
        if self._waiting is None:
            self._waiting = like.new_zeros(self.spec.look_ahead, like.shape[-1])
        return self._waiting

    def _take(self, rows: int, waiting: Tensor | None) -> int:
        """Take more rows; return how many of the sums are of none, as they come before a first."""
        outside = min(rows, max(0, self.spec.look_ahead - self._pushed))
        self._pushed += rows
        if waiting is not None:
            self._waiting = waiting
        return outside

    def _logits(self, sums: Tensor) -> Tensor:
        before = 0 if self._before is None else len(self._before)
        context = sums if self._before is None else torch.cat([self._before, sums])
        logits = self.head.combine(context, first=before)
        if self.head.history:
            self._before = context[max(0, len(context) - self.head.history) :]
        return logits if self._pooled is None else self._so_far(logits, self._pooled)

    @staticmethod
    def _so_far(logits: Tensor, pooled: Pooled) -> Tensor:
        """Return for each token the log-odds of the document up to and with it."""
        values = []
        for row in logits:
            pooled.push(row[None])
            values.append(pooled.value())
        return torch.stack(values) if values else logits

    def _numbered(self, probabilities: Sequence[Tensor]) -> list[PositionScores]:
        first = self._scored
        self._scored += len(probabilities)
        return [PositionScores(first + i, row) for i, row in enumerate(probabilities)]


class JointScorer:
    """Streams that are pushed at once; the numbers are those of one by one, on the CPU.

    What they have in common is worked out once, so keep it for as long as they go on together.

    Args:
        scorers: each for a document of its own, made from readouts that are alike
            (`Readout.alike`).
    """

    def __init__(self, scorers: Sequence[IncrementalScorer]) -> None:
        first = scorers[0]
        heads = [scorer.head for scorer in scorers]
        linear = [head for head in heads if isinstance(head, LinearHead)]
        self._scorers = scorers
        self._shared = all(head is first.head for head in heads)
        self._linear = linear if len(linear) == len(heads) and first._pooled is None else None
        self._calibrations = [scorer.calibration for scorer in scorers]
        self._calibration = first.calibration if len(set(self._calibrations)) == 1 else None
        self._weights: Tensor | None = None
        self._biases: Tensor | None = None

    def push(self, rows: Mapping[Site, Tensor]) -> list[list[PositionScores]]:
        """Take the next n rows of each, for each site `[scorers, n, d_model]`.

        Returns:
            What each `push` would have.

        Raises:
            InputError: a site is missing, sites differ in length, or a stream has ended.
        """
        scorers = self._scorers
        scorers[0]._check(rows)
        if any(scorer._finished for scorer in scorers):
            raise InputError("This stream has ended.", "Start another with stream().")
        sums, waiting = self._summed(rows)
        n = sums.shape[1]
        outside = [
            scorer._take(n, None if waiting is None else waiting[i])
            for i, scorer in enumerate(scorers)
        ]
        left = iter(self._scored(sums, outside).cpu().unbind())
        return [
            scorer._numbered(list(islice(left, n - start)))
            for scorer, start in zip(scorers, outside, strict=True)
        ]

    def _summed(self, rows: Mapping[Site, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the sums that are final, `[scorers, n, outputs]`, and those that still wait."""
        spec = self._scorers[0].spec
        ahead = spec.look_ahead
        features = exact(torch.cat([rows[site].detach() for site in spec.sites], dim=-1))
        if self._weights is None:
            weights = [scorer._weight(features) for scorer in self._scorers]
            self._weights = weights[0] if self._shared else torch.stack(weights)
        added = features @ self._weights
        if not ahead:
            return added, None
        added = torch.unflatten(added, -1, (ahead + 1, -1))
        n = added.shape[1]
        held = torch.stack([scorer._still_waiting(added) for scorer in self._scorers])
        sums = torch.cat([held, held.new_zeros(len(held), n, held.shape[-1])], dim=1)
        for step in range(ahead + 1):  # a row is the one at that distance after another's token
            sums[:, ahead - step : ahead - step + n] += added[:, :, step]
        return sums[:, :n], sums[:, n:]

    def _scored(self, sums: Tensor, outside: Sequence[int]) -> Tensor:
        """Return the scores of all, one below the other, of the sums that are of a token."""
        if self._linear is None:
            logits = [
                scorer._logits(sums[i, outside[i] :]) for i, scorer in enumerate(self._scorers)
            ]
            return calibrated(logits, self._calibrations)
        if self._biases is None:
            stacked = torch.stack([head.bias for head in self._linear])
            self._biases = exact(stacked.to(sums.device))[:, None]
        totals = sums + self._biases
        if self._calibration is not None and not any(outside):
            return self._calibration.probabilities(totals.flatten(0, 1))
        parts = [total[start:] for total, start in zip(totals.unbind(), outside, strict=True)]
        return calibrated(parts, self._calibrations)
