"""Stretches of a text that one model finds far more likely than another does."""

from collections.abc import Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """A stretch of a sequence.

    Attributes:
        start: its first place.
        end: the place after its last.
        gain: the sum of the values there.
    """

    start: int
    end: int
    gain: float


def maximal_runs(values: Sequence[float]) -> list[Run]:
    """Return all stretches whose sum cannot be raised by making them longer or shorter.

    They do not overlap, and come in order. (Ruzzo and Tompa 1999, "A linear time algorithm for
    finding all maximal scoring subsequences".)

    Args:
        values: some above zero, where what is looked for stands, and most below.

    Example:
        >>> maximal_runs([-1, 3, -1, 2, -9, 1])
        [Run(start=1, end=4, gain=4.0), Run(start=5, end=6, gain=1.0)]
    """
    # For each candidate: where it starts and ends, and the sums of all values before and with it.
    found: list[tuple[int, int, float, float]] = []
    total = 0.0
    for place, value in enumerate(values):
        before, total = total, total + value
        if value <= 0:
            continue
        start, low, high = place, before, total
        while True:
            number = next((i for i in reversed(range(len(found))) if found[i][2] < low), None)
            if number is None or found[number][3] >= high:
                found.append((start, place + 1, low, high))
                break
            start, _, low, _ = found[number]
            del found[number:]
    return [Run(start, end, float(high - low)) for start, end, low, high in found]
