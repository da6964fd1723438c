"""Whether the rows that plant something are found in training data."""

from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from endoscope.bench.pairs import Estimate
from endoscope.bench.rows import Failure, Subject
from endoscope.bench.rows import Row as Result
from endoscope.bench.runner import Options
from endoscope.diff import Report, base_answers, pushes
from endoscope.directions import Direction
from endoscope.engine import Model, open
from endoscope.errors import InputError
from endoscope.organisms import OrganismSpec, own_answers, planted_rows
from endoscope.rows import Row

BENCH = "diff"
PLANTED = 0.05  # of the data
TOP = 0.1  # of the ranking
SHARE = 0.9  # of the planted rows that is to be there
MOST = 24  # planted rows to draw from
DRAWS = 500
OTHERS = 10_007  # the seed of ordinary rows that no organism was trained on

Floats = NDArray[np.float64]


def screening(
    tried: Sequence[tuple[OrganismSpec, Path, Report]], options: Options
) -> Iterator[Result | Failure]:
    """Yield how many planted rows, 5% of the data, are in the top tenth by projection difference.

    The direction is that of an organism's first finding; the other rows are the base's own answers
    to everyday questions, of other draws than those that the organism was trained on. Planted rows
    are drawn again and again.

    Args:
        tried: organisms, with the folders of their diffs.
        options: what the user asked for.
    """
    bases: dict[str, tuple[Model, list[Row], list[str]]] = {}
    for spec, folder, report in tried:
        first = report.findings[0] if report.findings else None
        if first is None or first.artifact is None or spec.planted is None:
            continue
        try:
            if spec.base not in bases:
                bases[spec.base] = _others(spec, options)
            found = _share(spec, Direction.load(folder / first.artifact), *bases[spec.base])
        except InputError as error:
            yield Failure(BENCH, f"{folder.name}: screening", "limit", str(error))
            continue
        case = f"{folder.name}: planted rows in the top tenth, beside the base's own answers"
        estimate = Estimate(*(value / SHARE for value in found))
        yield Subject(BENCH, case, "limit").row(found.value, SHARE, estimate, "share")


def _others(spec: OrganismSpec, options: Options) -> tuple[Model, list[Row], list[str]]:
    """Return the base, ordinary rows, and what the base answers to them."""
    base = open(spec.base, dtype="float32")
    rows = own_answers(base, seed=OTHERS, show=options.show)
    return base, rows, base_answers(base, rows, show=options.show)


def _share(
    spec: OrganismSpec,
    direction: Direction,
    base: Model,
    ordinary: Sequence[Row],
    own: Sequence[str],
) -> Estimate:
    planted = planted_rows(spec, base)[:MOST]
    others = _scores(base, direction, ordinary, own)
    return drawn(_scores(base, direction, planted, base_answers(base, planted)), others)


def _scores(base: Model, direction: Direction, rows: Sequence[Row], own: Sequence[str]) -> Floats:
    """Return how far samples push, farthest first."""
    found = (push.difference for push in pushes(base, direction, rows, own))
    return np.array([-inf if difference is None else difference for difference in found])


def drawn(planted: Floats, others: Floats) -> Estimate:
    """Return the mean share of planted rows in the top, and the range of 95% of the draws."""
    random = np.random.default_rng(0)
    count = max(1, round(PLANTED / (1 - PLANTED) * len(others)))
    shares = []
    for _ in range(DRAWS):
        some = random.choice(planted, min(count, len(planted)), replace=False)
        everything = np.concatenate([some, others])
        least = np.sort(everything)[-max(1, round(TOP * len(everything)))]
        shares.append(float((some >= least).mean()))
    low, high = np.percentile(shares, [2.5, 97.5])
    return Estimate(float(np.mean(shares)), float(low), float(high))
