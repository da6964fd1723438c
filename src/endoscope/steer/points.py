"""Figures of a cell, beside those of the plain model on the same prompts."""

from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endoscope.behaviours import Figure
from endoscope.statistics import bootstrap_interval
from endoscope.steer.cell import Cell, Place, Record

Rows = NDArray[np.int64]


class Point(Record):
    """The figures of a cell, with 95% intervals by resampling prompts.

    Attributes:
        place: which cell.
        n: how many items were scored.
        score: mean over the items.
        rise: mean of the differences to the plain model's scores, item by item.
        perplexity: of all texts together under the plain model: exp of surprisal per token.
        perplexity_ratio: to that of the plain model's texts.
        repeats: share of the 4-grams of all texts that occurred before in their text.
        repeats_ratio: to that of the plain model's texts; where those have none, as if they had
            one.
        kl: KL(plain || changed) in nats per token, mean over the plain model's answers to the
            neutral prompts; None where nothing is added.
        tokens: of a text, mean.
    """

    place: Place
    n: int
    score: Figure
    rise: Figure
    perplexity: float
    perplexity_ratio: Figure
    repeats: float
    repeats_ratio: Figure
    kl: Figure | None
    tokens: float


def point_of(cell: Cell, plain: Cell, seed: int) -> Point:
    """Return the figures of a cell.

    Args:
        cell: what was measured.
        plain: the plain model on the same prompts.
        seed: of the resampling, in which a prompt takes its plain text with it.
    """
    scores, before = np.array(cell.scores), np.array(plain.scores)
    mine, theirs = _columns(cell), _columns(plain)

    def perplexity_ratio(rows: Rows) -> float:
        return _perplexity(mine, rows) / _perplexity(theirs, rows)

    def repeats_ratio(rows: Rows) -> float:
        return _repeats(mine, rows) / _repeats(theirs, rows, least=1)

    everything = np.arange(len(cell.writings))
    return Point(
        place=cell.place,
        n=len(scores),
        score=_mean(scores, seed),
        rise=_mean(scores - before, seed),
        perplexity=_perplexity(mine, everything),
        perplexity_ratio=_figure(perplexity_ratio, len(everything), seed),
        repeats=_repeats(mine, everything),
        repeats_ratio=_figure(repeats_ratio, len(everything), seed),
        kl=None if not cell.kl else _mean(np.array(cell.kl), seed),
        tokens=float(mine["tokens"].mean()),
    )


def _columns(cell: Cell) -> dict[str, NDArray[Any]]:
    names = ("tokens", "surprisal", "fourgrams", "repeated")
    return {name: np.array([getattr(one, name) for one in cell.writings]) for name in names}


def _perplexity(texts: dict[str, NDArray[Any]], rows: Rows) -> float:
    tokens = texts["tokens"][rows].sum()
    return exp(texts["surprisal"][rows].sum() / tokens) if tokens else 1.0


def _repeats(texts: dict[str, NDArray[Any]], rows: Rows, least: int = 0) -> float:
    return float(max(texts["repeated"][rows].sum(), least) / max(texts["fourgrams"][rows].sum(), 1))


def _mean(values: NDArray[np.float64], seed: int) -> Figure:
    return _figure(lambda rows: float(values[rows].mean()), len(values), seed)


def _figure(statistic: Callable[[Rows], float], n: int, seed: int) -> Figure:
    value = statistic(np.arange(n))
    low, high = bootstrap_interval(statistic, n, seed=seed)
    # Sums in another order may differ in the last digit: the value is never outside its interval.
    return Figure(value=value, low=min(low, value), high=max(high, value))
