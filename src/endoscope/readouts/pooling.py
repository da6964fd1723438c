"""Pooling: from the scores of tokens to the score of a document.

A pooling remembers of the tokens only what it needs to go on, so that a stream may ask for the
document's score at every token. A document that comes at once is a stream of one piece.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from endoscope.errors import InputError
from endoscope.readouts.scores import log_odds


class Pooled(ABC):
    """The score of one document while its tokens come.

    Attributes:
        size: k or w, of the poolings that have one; else 0.
        tokens: how many have come.
        kept: what is remembered of them, `[rows, labels]`; how many rows does not depend on how
            many tokens.
    """

    kept: Tensor

    def __init__(self, size: int) -> None:
        self.size = size
        self.tokens = 0

    def push(self, logits: Tensor) -> None:
        """Take the logits of the next tokens, `[n, labels]`."""
        if not len(logits):
            return
        odds = log_odds(logits)
        if not self.tokens:
            self._start(odds[:0])
        self.tokens += len(odds)
        self._push(odds)

    def value(self) -> Tensor:
        """Return the log-odds of the document so far, `[labels]`.

        Raises:
            InputError: there were no tokens.
        """
        if not self.tokens:
            raise InputError("A document without tokens has no score.", "Leave out empty texts.")
        return self._value()

    def _start(self, nothing: Tensor) -> None:
        self.kept = nothing

    @abstractmethod
    def _push(self, odds: Tensor) -> None: ...

    def _value(self) -> Tensor:
        return self.kept[0]


class _Max(Pooled):
    def _push(self, odds: Tensor) -> None:
        self.kept = torch.cat([self.kept, odds]).amax(0, keepdim=True)


class _Last(Pooled):
    def _push(self, odds: Tensor) -> None:
        self.kept = odds[-1:]


class _Mean(Pooled):
    def _push(self, odds: Tensor) -> None:
        self.kept = torch.cat([self.kept, odds]).sum(0, keepdim=True)

    def _value(self) -> Tensor:
        return self.kept[0] / self.tokens


class _Softmax(Pooled):
    """The tokens so far count as one: their pooled log-odds, with the sum of their weights."""

    def _start(self, nothing: Tensor) -> None:
        self.kept = self._weights = nothing  # logarithms of the weights

    def _push(self, odds: Tensor) -> None:
        weights = torch.cat([self._weights, odds])
        rows = torch.cat([self.kept, odds])
        self.kept = (torch.softmax(weights, 0) * rows).sum(0, keepdim=True)
        self._weights = weights.logsumexp(0, keepdim=True)


class _TopKMean(Pooled):
    def _push(self, odds: Tensor) -> None:
        rows = torch.cat([self.kept, odds])
        self.kept = rows.topk(min(self.size, len(rows)), 0).values

    def _value(self) -> Tensor:
        return self.kept.mean(0)


class _RollingMeanMax(Pooled):
    """The last tokens, which windows to come will cover, and the highest window so far."""

    def _start(self, nothing: Tensor) -> None:
        self.kept = self._highest = nothing

    def _push(self, odds: Tensor) -> None:
        rows = torch.cat([self.kept, odds])
        if len(rows) >= self.size:
            means = rows.unfold(0, self.size, 1).mean(-1)
            self._highest = torch.cat([self._highest, means]).amax(0, keepdim=True)
        self.kept = rows[max(0, len(rows) - self.size + 1) :]

    def _value(self) -> Tensor:
        return self._highest[0] if len(self._highest) else self.kept.mean(0)


_METHODS: dict[str, tuple[int | None, type[Pooled]]] = {
    "max": (None, _Max),
    "mean": (None, _Mean),
    "last": (None, _Last),
    "softmax": (None, _Softmax),
    "top_k_mean": (8, _TopKMean),
    "rolling_mean_max": (16, _RollingMeanMax),
}
"""Each method's default size (None: it has none) and how it goes on from token to token."""


@dataclass(frozen=True)
class Pooling:
    """How the log-odds of tokens become those of their document, label by label.

    - `max`, `mean`, `last`: of the tokens;
    - `softmax`: the mean of the tokens, weighted by the softmax of their own log-odds
      (McKenzie et al. 2025, "Detecting high-stakes interactions with activation probes");
    - `top_k_mean:k`: the mean of the k highest;
    - `rolling_mean_max:w`: the highest mean over w tokens in a row (Kramár et al. 2026).

    A document shorter than k or w is averaged whole.

    Args:
        method: one of the above.
        size: k or w, for the methods that have one.

    Raises:
        InputError: an unknown method, or a size where none is meant or below 1.
    """

    method: str
    size: int | None = None

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise InputError(
                f"No pooling is called {self.method!r}.", f"Known: {', '.join(_METHODS)}."
            )
        default, _ = _METHODS[self.method]
        if default is None and self.size is not None:
            raise InputError(f"The pooling {self.method} has no size.", f"Write {self.method}.")
        if default is not None and self.size is None:
            object.__setattr__(self, "size", default)
        if self.size is not None and self.size < 1:
            raise InputError(f"A pooling of size {self.size} makes no sense.", "Give 1 or more.")

    @classmethod
    def parse(cls, text: "str | Pooling") -> "Pooling":
        """Read the text form, such as `max` or `top_k_mean:8`.

        Raises:
            InputError: the text is not a pooling.
        """
        if isinstance(text, Pooling):
            return text
        method, _, size = text.partition(":")
        if size and not (size.isascii() and size.isdigit()):
            raise InputError(f"{text!r} is not a pooling.", "Write for example top_k_mean:8.")
        return cls(method, int(size) if size else None)

    def __str__(self) -> str:
        return self.method if self.size is None else f"{self.method}:{self.size}"

    def start(self) -> Pooled:
        """Begin with a document whose tokens are still to come."""
        _, pooled = _METHODS[self.method]
        return pooled(self.size or 0)

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the log-odds `[labels]` of one document from token logits `[tokens, labels]`.

        Raises:
            InputError: the document has no tokens.
        """
        pooled = self.start()
        pooled.push(logits)
        return pooled.value()
