"""Whether the rows that plant something are found in training data."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from endoscope.bench.pairs import Estimate
from endoscope.bench.rows import Failure, Subject
from endoscope.bench.rows import Row as Result
from endoscope.bench.runner import Options
from endoscope.diff import Push, Report, base_answers, pushes
from endoscope.directions import Direction
from endoscope.engine import open
from endoscope.errors import InputError
from endoscope.organisms import OrganismSpec, own_answers, planted_rows

BENCH = "diff"
PLANTED = 0.05  # of the data
TOP = 0.1  # of the ranking
SHARE = 0.9  # of the planted rows that is to be there
MOST = 24  # planted rows to draw from
DRAWS = 500
OTHERS = 10_007  # the seed of ordinary rows that no organism was trained on

Floats = NDArray[np.float64]


class _Found(NamedTuple):
    """An organism, and where the direction of the first finding of its diff is."""

    spec: OrganismSpec
    name: str
    artifact: Path


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
    bases: dict[str, list[_Found]] = defaultdict(list)
    for spec, folder, report in tried:
        first = report.findings[0] if report.findings else None
        if first is not None and first.artifact is not None and spec.planted is not None:
            bases[spec.base].append(_Found(spec, folder.name, folder / first.artifact))
    for name, found in bases.items():
        try:
            yield from _of_base(name, found, options)
        except InputError as error:
            for one in found:
                yield Failure(BENCH, f"{one.name}: screening", "limit", str(error))


def _of_base(name: str, found: Sequence[_Found], options: Options) -> Iterator[Result]:
    base = open(name, dtype="float32")
    directions = [Direction.load(one.artifact) for one in found]
    rows = own_answers(base, seed=OTHERS, show=options.show)
    own = base_answers(base, rows, show=options.show)
    others = pushes(base, directions, rows, own, show=options.show)
    for one, direction, ordinary in zip(found, directions, others, strict=True):
        planted = planted_rows(one.spec, base)[:MOST]
        (pushed,) = pushes(base, [direction], planted, base_answers(base, planted))
        estimate = drawn(_differences(pushed), _differences(ordinary))
        case = f"{one.name}: planted rows in the top tenth, beside the base's own answers"
        ratio = Estimate(*(value / SHARE for value in estimate))
        yield Subject(BENCH, case, "limit").row(estimate.value, SHARE, ratio, "share")


def _differences(found: Sequence[Push]) -> Floats:
    """Return how far samples push, farthest first."""
    return np.array([-inf if one.difference is None else one.difference for one in found])


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
