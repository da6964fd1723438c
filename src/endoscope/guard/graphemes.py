"""Whole characters as a reader sees them: no span ends between a letter and its accent."""

from bisect import bisect_right
from collections.abc import Iterator

import regex

_CLUSTER = regex.compile(r"\X")
# Code points of a cluster; more are several. Stream-Safe text (UAX 15) has 30 marks at most.
LONGEST = 32


def clusters(text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the grapheme clusters of a text (Unicode UAX 29), in order, from where one begins.

    A cluster is known when one more character is: that does or does not go on with it.
    """
    while start < len(text):
        cluster = _CLUSTER.match(text[start : start + LONGEST])
        end = start + (cluster.end() if cluster else 1)
        yield start, end
        start = end


class Graphemes:
    """The grapheme clusters of one text that hold several code points.

    Args:
        text: any string.
        start: where a cluster begins, before which nothing is asked for.
    """

    def __init__(self, text: str, start: int = 0) -> None:
        plain = text.isascii() and "\r\n" not in text
        several = [] if plain else [(a, b) for a, b in clusters(text, start) if b - a > 1]
        self._starts = [start for start, _ in several]
        self._ends = [end for _, end in several]

    def cover(self, start: int, end: int) -> tuple[int, int]:
        """Return the smallest range of whole clusters that holds `start` to `end`."""
        first, last = self._around(start), self._around(end)
        return (
            self._starts[first] if first is not None else start,
            self._ends[last] if last is not None else end,
        )

    def _around(self, position: int) -> int | None:
        """Index of the cluster that `position` would cut in two."""
        index = bisect_right(self._starts, position) - 1
        if index >= 0 and self._starts[index] < position < self._ends[index]:
            return index
        return None
