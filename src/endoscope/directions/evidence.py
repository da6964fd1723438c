"""What speaks for a direction: figures on held-out units, and the same for random directions."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from endoscope.artifacts import DataRef, Evidence
from endoscope.directions.contrast import Contrast
from endoscope.directions.methods import Estimate, Method
from endoscope.directions.similarity import similarity
from endoscope.statistics import auroc, bootstrap_interval

Units = NDArray[np.int64]
Statistic = Callable[[Units], float]
"""A figure of some units, by their places, with repeats."""

RANDOM_DIRECTIONS = 100
HALVES = 20  # how often the units are halved


def separability(
    basis: Tensor, train: Contrast | None, held_out: Contrast, data: DataRef, seed: int
) -> list[Evidence]:
    """Return how well projections tell held-out classes apart, and how well random ones do.

    The score of a row is its coordinate along the direction; within a subspace, that along the
    difference of the training means. Random directions are counted both ways (the larger of AUROC
    and 1 - AUROC), so that they get the best that a sign can do.

    Args:
        basis: orthonormal, `[k, d_model]`, float64.
        train: what it was fitted on; needed for a subspace.
        held_out: what it was not fitted on.
        data: where the held-out rows come from.
        seed: of the bootstrap and of the random directions.
    """
    found = []
    several = len(held_out.labels) > 2
    for label in range(1, len(held_out.labels)):
        name = held_out.labels[label] if several else None
        area = _auroc(_scores(basis, train, held_out, label), held_out, label)
        found.append(_interval("auroc", area, held_out, data, "test", seed, name))
        found.append(_of_random(basis, train, held_out, label, data, seed, name))
    return found


def alignment(basis: Tensor, held_out: Contrast, data: DataRef, seed: int) -> list[Evidence]:
    """Return `cosine_of_differences`, of two classes: how far single units point along.

    It is the mean cosine of the held-out units' differences with the direction (with a subspace:
    the share of their length that lies in it). On the units that it was fitted on, a direction in
    pure noise would reach one over the root of their number.
    """
    if len(held_out.labels) > 2:
        return []
    differences = held_out.differences()
    along = differences @ basis.T
    parts = along[:, 0] if len(basis) == 1 else along.norm(dim=1)
    cosines = (parts / differences.norm(dim=1).clamp(min=1e-12)).numpy()
    n = len(cosines)
    value = float(cosines.mean())
    low, high = bootstrap_interval(lambda units: float(cosines[units].mean()), n, seed=seed)
    return [
        Evidence(
            metric="cosine_of_differences",
            value=value,
            low=min(low, value),
            high=max(high, value),
            n=n,
            data=data,
            split="test",
        )
    ]


def agreement(
    method: Method,
    train: Contrast,
    rank: int,
    typical_norm: float,
    data: DataRef,
    seed: int,
) -> list[Evidence]:
    """Return how far the training material agrees with itself, and how far the classes are apart.

    - `cosine_of_halves`: similarity of directions fitted on random halves of the units, with the
      range that 95% of the halvings lie in;
    - `norm`: of the difference of the means, absolute; `norm_typical`: in typical norms.
    """
    found = [_halves(method, train, rank, data, seed)]
    several = len(train.labels) > 2
    for label in range(1, len(train.labels)):
        name = train.labels[label] if several else None
        for metric, scale in (("norm", 1.0), ("norm_typical", typical_norm)):
            length = _length(train, label, scale)
            found.append(_interval(metric, length, train, data, "train", seed, name))
    return found


def erased(estimate: Estimate, held_out: Contrast, data: DataRef, seed: int) -> list[Evidence]:
    """Return `difference_left`: the share of the held-out difference that an erasure leaves."""
    if estimate.erasure is None:
        return []
    after = replace(held_out, rows=estimate.erasure(held_out.rows))
    found = []
    for label in range(1, len(held_out.labels)):
        name = held_out.labels[label] if len(held_out.labels) > 2 else None
        lengths = _length(after, label), _length(held_out, label)

        def left(units: Units, lengths: tuple[Statistic, Statistic] = lengths) -> float:
            return lengths[0](units) / lengths[1](units)

        found.append(_interval("difference_left", left, held_out, data, "test", seed, name))
    return found


def _scores(
    basis: Tensor, train: Contrast | None, held_out: Contrast, label: int
) -> NDArray[np.float64]:
    if len(basis) == 1:
        return (held_out.rows @ basis[0]).numpy()
    assert train is not None, "a subspace was fitted on something"
    return (held_out.rows @ (basis.T @ (basis @ train.difference(label)))).numpy()


def _of_random(
    basis: Tensor,
    train: Contrast | None,
    held_out: Contrast,
    label: int,
    data: DataRef,
    seed: int,
    name: str | None,
) -> Evidence:
    truth = (held_out.classes == label).numpy()
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(RANDOM_DIRECTIONS):
        drawn = torch.randn(basis.T.shape, generator=generator, dtype=torch.float64)
        value = auroc(_scores(torch.linalg.qr(drawn).Q.T, train, held_out, label), truth)
        values.append(max(value, 1 - value))
    return _range(
        "auroc",
        values,
        len(held_out.names),
        data,
        "test",
        label=name,
        baseline="random directions",
        note=f"Mean and 95% range of {RANDOM_DIRECTIONS}, each counted both ways.",
    )


def _halves(method: Method, train: Contrast, rank: int, data: DataRef, seed: int) -> Evidence:
    random = Random(seed)
    values = []
    for _ in range(HALVES):
        left, right = train.split(0.5, random)
        values.append(similarity(method(left, rank).basis, method(right, rank).basis))
    return _range(
        "cosine_of_halves",
        values,
        len(train.names),
        data,
        "train",
        note=f"Mean and 95% range over {HALVES} random halvings.",
    )


def _length(contrast: Contrast, label: int, scale: float = 1.0) -> Statistic:
    """Return the statistic of units that is the length of a class's difference of means."""
    units = torch.searchsorted(torch.tensor(contrast.names), contrast.units)
    sums, counts = [], []
    for inside in (contrast.classes == label, contrast.classes != label):
        shape = (len(contrast.names), contrast.rows.shape[1])
        totals = torch.zeros(shape, dtype=torch.float64)
        sums.append(totals.index_add_(0, units[inside], contrast.rows[inside]))
        counts.append(torch.bincount(units[inside], minlength=len(totals)).double())

    def length(chosen: Units) -> float:
        times = torch.bincount(torch.from_numpy(chosen), minlength=len(counts[0])).double()
        # A class without rows gives 0 / 0: NaN, which is left out of the interval.
        means = [times @ total / (times @ count) for total, count in zip(sums, counts, strict=True)]
        return float((means[0] - means[1]).norm()) / scale

    return length


def _auroc(scores: NDArray[np.float64], contrast: Contrast, label: int) -> Statistic:
    """Return the statistic of units that is the AUROC of their rows' scores."""
    units, truth = contrast.units.numpy(), (contrast.classes == label).numpy()
    members = [np.flatnonzero(units == unit) for unit in contrast.names]

    def area(chosen: Units) -> float:
        rows = np.concatenate([members[i] for i in chosen])
        return auroc(scores[rows], truth[rows])

    return area


def _interval(
    metric: str,
    statistic: Statistic,
    contrast: Contrast,
    data: DataRef,
    split: str,
    seed: int,
    label: str | None,
) -> Evidence:
    """Return a statistic of all units, with its interval over units."""
    n = len(contrast.names)
    value = statistic(np.arange(n))
    low, high = bootstrap_interval(statistic, n, seed=seed)
    return Evidence(
        metric=metric,
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=n,
        data=data,
        split=split,
        label=label,
        note=_few(n),
    )


def _range(
    metric: str, values: list[float], n: int, data: DataRef, split: str, **more: str | None
) -> Evidence:
    low, high = np.percentile(values, [2.5, 97.5])
    value = float(np.mean(values))
    return Evidence(
        metric=metric,
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=n,
        data=data,
        split=split,
        **more,
    )


def _few(n: int) -> str | None:
    return "Fewer than 20: read the interval, not the figure." if n < 20 else None
