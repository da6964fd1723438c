"""Pooling: from the scores of tokens to the score of a document."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from endoscope.errors import InputError
from endoscope.readouts.scores import log_odds


def _rolling_mean_max(odds: Tensor, window: int) -> Tensor:
    width = min(window, len(odds))
    sums = torch.cat([odds.new_zeros(1, odds.shape[1]), odds.cumsum(0)])
    return ((sums[width:] - sums[:-width]) / width).amax(0)


_METHODS: dict[str, tuple[int | None, Callable[[Tensor, int], Tensor]]] = {
    "max": (None, lambda odds, _: odds.amax(0)),
    "mean": (None, lambda odds, _: odds.mean(0)),
    "last": (None, lambda odds, _: odds[-1]),
    "softmax": (None, lambda odds, _: (torch.softmax(odds, 0) * odds).sum(0)),
    "top_k_mean": (8, lambda odds, k: odds.topk(min(k, len(odds)), 0).values.mean(0)),
    "rolling_mean_max": (16, _rolling_mean_max),
}
"""Each method's default size (None: it has none) and what it computes."""


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

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the log-odds `[labels]` of one document from token logits `[tokens, labels]`.

        Raises:
            InputError: the document has no tokens.
        """
        if not len(logits):
            raise InputError("A document without tokens has no score.", "Leave out empty texts.")
        _, pool = _METHODS[self.method]
        return pool(log_odds(logits), self.size or 0)
