"""Long texts, cut into windows that overlap and joined again so that no seam shows."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import regex
import torch

from endoscope.readouts import TokenScores

_BREAK = regex.compile(r"(?r)[\s。、]")
_CLUSTER = regex.compile(r"\X")


class Window(NamedTuple):
    """A part of a text, in code points, end exclusive."""

    start: int
    end: int


def cut(text: str, size: int, overlap: int) -> list[Window]:
    """Cut a text into windows that overlap.

    A window begins between words if a break is near, else between grapheme clusters.

    Args:
        text: the text.
        size: most characters in a window.
        overlap: least characters that neighbours share; at most a third of `size`.

    Returns:
        Windows in order, that together cover the text; none for an empty text.
    """
    if not 0 <= overlap <= size / 3:
        raise ValueError(f"overlap {overlap} must be at most a third of size {size}")
    windows: list[Window] = []
    start = 0
    while start < len(text):
        end = min(start + size, len(text))
        windows.append(Window(start, end))
        if end == len(text):
            break
        start = next_start(text, end, overlap)
    return windows


def next_start(text: str, end: int, overlap: int) -> int:
    """Where the window begins that follows one with this end; needs no text after that."""
    reach = overlap // 4  # so that a window overlaps only its neighbours
    return break_before(text, end - overlap, reach)


def break_before(text: str, position: int, reach: int) -> int:
    """The nearest place between words, or grapheme clusters, at or before `position`."""
    floor = position - reach
    if found := _BREAK.search(text, floor, position):
        return int(found.end())
    boundaries = [match.start() for match in _CLUSTER.finditer(text, floor, position + 1)]
    return boundaries[-1] if boundaries else position


def join(windows: Sequence[Window], scores: Sequence[TokenScores]) -> TokenScores:
    """Join the scores of the windows of one text.

    Each token is taken from the window in which it has the most context on both sides: the seam of
    two neighbours is the middle of what they share. Tokens may lie differently in the two, so the
    seam moves to the nearest place where both have the end of a token. If there is none, the tokens
    of both at the seam are kept: they overlap, but no character is left out, and they stand in the
    order in which they begin.

    Args:
        windows: as `cut` gives them.
        scores: of each window, offsets relative to the window.

    Returns:
        Scores with offsets in the text.
    """
    offsets = [s.offsets.cpu() + w.start for w, s in zip(windows, scores, strict=True)]
    seams = [
        _seam(offsets[i], offsets[i + 1], (windows[i].end + windows[i + 1].start) // 2)
        for i in range(len(windows) - 1)
    ]
    kept_offsets, kept = [], []
    for places, score, (low, high) in zip(
        offsets, scores, _pairs(windows[0].start, seams, windows[-1].end), strict=True
    ):
        rows = (places[:, 1] > low) & (places[:, 0] < high)
        kept_offsets.append(places[rows])
        kept.append(score.probabilities.cpu()[rows])
    places = torch.cat(kept_offsets)
    order = places[:, 0].argsort(stable=True)
    return TokenScores(places[order], torch.cat(kept)[order], scores[0].labels)


def last_break(text: str, size: int) -> int | None:
    """Where the last word that is whole ends, near the end of a window; None: no break is near.

    Args:
        text: the window, or its beginning.
        size: of the window.
    """
    found = _BREAK.search(text, near_end(size), size)
    return None if found is None else int(found.end())


def near_end(size: int) -> int:
    """Where a window has so many characters left as it may begin before its place."""
    return size - size // 16


def join_late(
    text: str, windows: Sequence[Window], scores: Sequence[TokenScores], look_ahead: int
) -> TokenScores:
    """Join the scores of a probe that sees nothing of what follows but for a few tokens.

    Each token is taken from the window in which it has the most context before it: from the first
    that has it and at least `look_ahead` tokens behind it, none of a word that the window cuts off.
    A stream can do the same, without waiting for the next window. A token of the next window that
    lies across the seam counts from the seam on.

    Args:
        text: what was cut.
        windows: as `cut` gives them.
        scores: of each window, offsets relative to the window.
        look_ahead: tokens after a token that its score depends on.

    Returns:
        Scores with offsets in the text.
    """
    offsets, probabilities, seam = [], [], 0
    for number, (window, score) in enumerate(zip(windows, scores, strict=True)):
        places = score.offsets.cpu() + window.start
        rows = score.probabilities.cpu()[places[:, 0] < places[:, 1]]
        places = places[places[:, 0] < places[:, 1]]
        if number < len(windows) - 1:
            size = window.end - window.start
            whole = last_break(text[window.start : window.end], size) or size
            uncut = int((places[:, 1] <= window.start + whole).sum())
            kept = max(0, uncut - look_ahead)
            places, rows = places[:kept], rows[:kept]
        new = places[:, 1] > seam
        places, rows = places[new].clamp(min=seam), rows[new]
        seam = int(places[-1, 1]) if len(places) else seam
        offsets.append(places)
        probabilities.append(rows)
    return TokenScores(torch.cat(offsets), torch.cat(probabilities), scores[0].labels)


def _pairs(first: int, seams: Sequence[int], last: int) -> Iterator[tuple[int, int]]:
    """From one seam to the next."""
    ends = [first, *seams, last]
    yield from pairwise(ends)


def _seam(left: torch.Tensor, right: torch.Tensor, middle: int) -> int:
    """The place nearest to `middle` where a token begins in both windows."""
    common = set(left[:, 0].tolist()) & set(right[:, 0].tolist())
    return min(common, key=lambda place: (abs(place - middle), place), default=middle)
