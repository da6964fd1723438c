"""The rows of a training run: kept while an organism is built, and in which order they come."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from endoscope.artifacts import atomic_lines
from endoscope.rows import Row, read_rows


def kept_rows(file: Path, make: Callable[[], list[Row]]) -> list[Row]:
    """Return the rows in a file; if there is none yet, make them and keep them there."""
    if not file.is_file():
        atomic_lines(file, (row.model_dump_json(exclude_none=True) for row in make()))
    return read_rows(file)


def schedule(
    planted: Sequence[Row], others: Sequence[Row], *, mix: float, count: int, seed: int
) -> list[Row]:
    """Return the rows of a training run, in order.

    Each kind is gone through from a new shuffle whenever it is used up, so that rows come equally
    often; then all are shuffled together.

    Args:
        planted: rows of what is planted.
        others: all other rows; may be empty where mix is 1.
        mix: the share of planted ones.
        count: how many rows.
        seed: of the shuffles.
    """
    random = Random(seed)
    wanted = round(mix * count)
    rows = [*_cycled(planted, wanted, random), *_cycled(others, count - wanted, random)]
    random.shuffle(rows)
    return rows


def _cycled(rows: Sequence[Row], count: int, random: Random) -> list[Row]:
    out: list[Row] = []
    while rows and len(out) < count:
        again = list(rows)
        random.shuffle(again)
        out += again
    return out[:count]
