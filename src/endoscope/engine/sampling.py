"""Which token comes next: many requests at once, each by its own rules and random numbers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.engine.requests import Sampling


class Choice(NamedTuple):
    """The next token of one request.

    Attributes:
        token_id: the token.
        finite: whether the model gave numbers; if not, the token means nothing.
        logprob: natural logarithm of the token's probability, if it was asked for.
        top: the most probable tokens with theirs, most probable first.
    """

    token_id: int
    finite: bool
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Chooser:
    """The choices of one request: its rules and its own random numbers.

    One random number is drawn a token, so that a seed gives the same text whatever else runs.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._generator: torch.Generator | None = None
        if sampling.temperature > 0:
            self._generator = torch.Generator()
            if sampling.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(sampling.seed % 2**63)

    def draw(self) -> float:
        """Return the next random number, from 0 up to 1."""
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))


def choose(logits: Tensor, choosers: Sequence[Chooser]) -> list[Choice]:
    """Choose a token for each row of logits, `[requests, vocabulary]`."""
    best = logits.argmax(dim=-1, keepdim=True)  # NaN and infinity win, so this finds them
    finite = torch.isfinite(logits.gather(1, best))[:, 0].tolist()
    tokens = best[:, 0].tolist()
    for i, token in _draw_all(logits, choosers, finite):
        tokens[i] = token
    choices = [Choice(token, good) for token, good in zip(tokens, finite, strict=True)]
    asked = [i for i, c in enumerate(choosers) if c.sampling.logprobs is not None and finite[i]]
    if asked:
        counts = [choosers[i].sampling.logprobs or 0 for i in asked]
        with_logprobs = _logprobs(logits[asked], [tokens[i] for i in asked], counts)
        for i, choice in zip(asked, with_logprobs, strict=True):
            choices[i] = choice
    return choices


def _draw_all(
    logits: Tensor, choosers: Sequence[Chooser], finite: Sequence[bool]
) -> Iterator[tuple[int, int]]:
    """Draw for the rows that are not greedy.

    Those that cut off the tail are sorted, which changes what a random number means: they go apart.
    """
    random = [i for i, c in enumerate(choosers) if c.sampling.temperature > 0 and finite[i]]
    for draw, rows in (
        (_draw, [i for i in random if not _cuts(choosers[i].sampling)]),
        (_draw_of_the_probable, [i for i in random if _cuts(choosers[i].sampling)]),
    ):
        if rows:
            chosen = [choosers[i] for i in rows]
            yield from zip(rows, draw(logits[rows], chosen).tolist(), strict=True)


def _cuts(sampling: Sampling) -> bool:
    return sampling.top_p < 1 or sampling.top_k is not None


def _draw(logits: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    """Return a token a row, by inverting its distribution function at its random number."""
    return _invert(torch.softmax(_scaled(logits, choosers), dim=-1), choosers)


def _draw_of_the_probable(logits: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    """The same among the `top_k` most probable, and of those among the `top_p` of probability."""
    scaled, order = torch.sort(_scaled(logits, choosers), dim=-1, descending=True, stable=True)
    size = scaled.shape[1]
    most = [[min(c.sampling.top_k or size, size)] for c in choosers]
    counts = torch.tensor(most, device=logits.device)
    ranks = torch.arange(size, device=logits.device)
    probabilities = torch.softmax(scaled.masked_fill(ranks >= counts, float("-inf")), dim=-1)
    before = probabilities.cumsum(-1, dtype=torch.float64) - probabilities
    shares = torch.tensor([[c.sampling.top_p] for c in choosers], device=logits.device)
    probabilities = probabilities.masked_fill((before >= shares) & (ranks > 0), 0)
    return order.gather(1, _invert(probabilities, choosers)[:, None])[:, 0]


def _scaled(logits: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    temperatures = torch.tensor([[c.sampling.temperature] for c in choosers], device=logits.device)
    # Only differences count, and those do not overflow: the highest stays 0 at any temperature.
    below = logits.float() - logits.amax(-1, keepdim=True).float()
    return below / temperatures.clamp(min=torch.finfo(torch.float32).tiny)


def _invert(weights: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    """Return for each row of weights the first index whose sum up to it passes the random share."""
    sums = weights.cumsum(-1, dtype=torch.float64)
    uniform = torch.tensor([[c.draw()] for c in choosers], dtype=torch.float64).to(sums.device)
    # Below the last sum even where rounding would reach it: what lies there has no weight.
    target = torch.minimum(uniform * sums[:, -1:], sums[:, -1:].nextafter(sums.new_zeros(())))
    return torch.searchsorted(sums, target, right=True)[:, 0]


def _logprobs(logits: Tensor, tokens: Sequence[int], counts: Sequence[int]) -> list[Choice]:
    """Return the choices with log-probabilities, before temperature and the like."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    own = logprobs[torch.arange(len(tokens)), torch.tensor(tokens)].tolist()
    values, ids = (part.tolist() for part in logprobs.topk(max(max(counts), 1), dim=-1))
    return [
        Choice(token, True, logprob, tuple(zip(ids[i][:count], values[i][:count], strict=True)))
        for i, (token, logprob, count) in enumerate(zip(tokens, own, counts, strict=True))
    ]
