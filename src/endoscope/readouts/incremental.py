"""Scores of tokens while they are being decoded."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.errors import InputError
from endoscope.models.sites import Site
from endoscope.readouts.features import FeatureSpec
from endoscope.readouts.heads import Head
from endoscope.readouts.pooling import Pooling
from endoscope.readouts.scores import Calibration


class PositionScores(NamedTuple):
    """The scores of the token at one position, `[labels]`."""

    position: int
    probabilities: Tensor


class IncrementalScorer:
    """Takes rows as decoding produces them, gives scores as soon as they are final.

    The score of a token comes `look_ahead` tokens after it, and is the one that scoring the whole
    document at once would give, whatever the pieces. Rows of added special tokens (BOS) are not
    to be pushed; batch scoring leaves them out too.

    Args:
        spec: which rows become features.
        head: what scores them.
        calibration: applied to the logits of tokens, or of the document where there is a pooling.
        pooling: with it, `document()` gives the document's score so far, at no cost that grows
            with the document.

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
        self._rows: dict[Site, Tensor] = {}  # not yet scored
        self._features: Tensor | None = None  # scored, still within the head's history
        self._position = 0
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
        if self._finished:
            raise InputError("This stream has ended.", "Start another with stream().")
        missing = [str(site) for site in self.spec.sites if site not in rows]
        if missing:
            raise InputError(f"Rows of {', '.join(missing)} are missing.", "Push every site.")
        if len({len(rows[site]) for site in self.spec.sites}) != 1:
            raise InputError("The sites were pushed with different numbers of rows.")
        for site in self.spec.sites:
            new = rows[site].detach()
            held = self._rows.get(site)
            self._rows[site] = new.clone() if held is None else torch.cat([held, new])
        return self._score(self._pending() - self.spec.look_ahead)

    def finish(self) -> list[PositionScores]:
        """Return the scores of the tokens that were still waiting for others; ends the stream."""
        self._finished = True
        return self._score(self._pending())

    def document(self) -> Tensor:
        """Return the document's probabilities `[labels]` from the tokens scored so far.

        Raises:
            InputError: the probe has no pooling, or no token was scored yet.
        """
        if self._pooled is None:
            raise InputError("This probe scores tokens, not documents.", "Use what push() returns.")
        return self.calibration.probabilities(self._pooled.value())

    def _pending(self) -> int:
        return len(self._rows[self.spec.sites[0]]) if self._rows else 0

    def _score(self, ready: int) -> list[PositionScores]:
        if ready <= 0:
            return []
        one_document = torch.zeros(self._pending(), dtype=torch.long)
        device = self._rows[self.spec.sites[0]].device
        features = self.spec.at(
            self._rows, one_document.to(device), torch.arange(ready, device=device)
        )
        self._rows = {site: rows[ready:] for site, rows in self._rows.items()}

        before = 0 if self._features is None else len(self._features)
        context = features if self._features is None else torch.cat([self._features, features])
        logits = self.head(context)[before:]
        if self.head.history:
            self._features = context[-self.head.history :]
        if self._pooled is not None:
            self._pooled.push(logits)

        first = self._position
        self._position += ready
        probabilities = self.calibration.probabilities(logits)
        return [PositionScores(first + i, row) for i, row in enumerate(probabilities)]
