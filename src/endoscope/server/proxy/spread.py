"""Finding again what was found once: a name that the probe saw in one message and not in another.

Case, width and white space do not matter, but for a word that may be an ordinary one (`Will`,
`May`): in another case it is no name. A value stands alone: `Jo` is not in `Jones`, nor `ジョン` in
`ジョンソン`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from unicodedata import normalize

import regex

from endoscope.guard.boundaries import SPACED

_CLUSTER = regex.compile(r"\s+|\X")
_WORD = regex.compile(rf"[{SPACED}\p{{N}}_]")
_KATAKANA = regex.compile(r"[\p{Katakana}ー]")
_HIRAGANA = regex.compile(r"\p{Hiragana}")
_ONE_WORD = regex.compile(rf"[{SPACED}]+")
_BETWEEN = "\uffff"  # no character, so in no value
_LEAST, _LEAST_DIGITS = 2, 4  # characters; fewer are everywhere


class Known(NamedTuple):
    """A value to look for.

    Attributes:
        text: as it was found.
        label: what it is.
        exact: whether only the very same text is this value.
    """

    text: str
    label: str
    exact: bool

    def __repr__(self) -> str:
        return f"Known({self.label})"


class Folded:
    """Texts without the differences that do not matter, and where their characters were.

    They are one string, for there can be thousands of values to look for in hundreds of texts.

    Args:
        texts: any strings.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        pieces: list[str] = []
        self._at: list[int] = []  # where in the folded string each piece begins
        self._places: list[tuple[int, int, int]] = []
        length = 0
        for index, text in enumerate(texts):
            for match in _CLUSTER.finditer(text):
                piece = _fold(match[0])
                pieces.append(piece)
                self._at.append(length)
                self._places.append((index, *match.span()))
                length += len(piece)
            pieces.append(_BETWEEN)
            length += len(_BETWEEN)
        self._text = "".join(pieces)

    def find(self, wanted: str) -> Iterator[tuple[int, int, int]]:
        """Yield where a folded value stands: which text, and where in it; whole characters."""
        start = self._text.find(wanted)
        while start >= 0:
            end = start + len(wanted)
            index, first, _ = self._places[bisect_right(self._at, start) - 1]
            yield index, first, self._places[bisect_right(self._at, end - 1) - 1][2]
            start = self._text.find(wanted, end)

    def __repr__(self) -> str:
        return f"Folded({len(self._text)} characters)"


def spread(known: Iterable[Known], texts: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    """Return for each text where known values stand in it, and what they are.

    Args:
        known: what was found.
        texts: where to look.

    Returns:
        For each text `(start, end, label)`, in no order; they may overlap.
    """
    found: list[list[tuple[int, int, str]]] = [[] for _ in texts]
    values: dict[str, list[Known]] = {}
    for value in dict.fromkeys(known):
        wanted = "".join(_fold(match[0]) for match in _CLUSTER.finditer(value.text)).strip()
        if len(wanted) >= (_LEAST_DIGITS if wanted.isdecimal() else _LEAST):
            values.setdefault(wanted, []).append(value)
    if not values:
        return found
    folded = Folded(texts)
    for wanted, same in values.items():
        for index, start, end in folded.find(wanted):
            text = texts[index]
            labels = (value.label for value in same if _same(text[start:end], value))
            if _alone(text, start, end) and (label := next(labels, None)) is not None:
                found[index].append((start, end, label))
    return found


def _fold(cluster: str) -> str:
    return " " if cluster.isspace() else normalize("NFKC", cluster).casefold()


def _same(text: str, value: Known) -> bool:
    if value.exact:
        return text == value.text
    plain, wanted = normalize("NFKC", text), normalize("NFKC", value.text)
    return plain == wanted or not _ONE_WORD.fullmatch(wanted)


def _alone(text: str, start: int, end: int) -> bool:
    """Whether what stands in a text is no part of a longer word."""
    first, last = text[start], text[end - 1]
    before, after = text[start - 1 : start], text[end : end + 1]
    for script in (_WORD, _KATAKANA):
        if script.match(first) and script.match(before):
            return False
        if script.match(last) and script.match(after):
            return False
    # After a name in hiragana a particle may follow; before it, it is the end of another word.
    return not (_HIRAGANA.match(first) and _HIRAGANA.match(before))
