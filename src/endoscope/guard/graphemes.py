"""Whole characters as a reader sees them: no span ends between a letter and its accent."""

from bisect import bisect_right

import regex

_CLUSTER = regex.compile(r"\X")


class Graphemes:
    """The grapheme clusters of one text that hold several code points (Unicode UAX 29).

    Args:
        text: any string.
    """

    def __init__(self, text: str) -> None:
        plain = text.isascii() and "\r\n" not in text
        clusters = () if plain else _CLUSTER.finditer(text)
        several = [m.span() for m in clusters if m.end() - m.start() > 1]
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
