"""Finding again what was found once: a name that the probe saw in one message and not in another.

Case, width and white space do not matter, but for a word that may be an ordinary one (`Will`,
`May`): in another case it is no name. A value stands alone: `Jo` is not in `Jones`, nor `ジョン` in
`ジョンソン`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from unicodedata import normalize

import regex

from endoscope.guard.boundaries import SPACED

_CLUSTER = regex.compile(r"\s+|\X")
_WORD = regex.compile(rf"[{SPACED}\p{{N}}_]")
_KATAKANA = regex.compile(r"[\p{Katakana}ー]")
_HIRAGANA = regex.compile(r"\p{Hiragana}")
_ONE_WORD = regex.compile(rf"[{SPACED}]+")
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
    """A text without the differences that do not matter, and where its characters were.

    Args:
        text: any string.
    """

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        self._at: list[int] = []  # where in the folded text each piece begins
        self._spans: list[tuple[int, int]] = []
        length = 0
        for match in _CLUSTER.finditer(text):
            piece = " " if match[0].isspace() else normalize("NFKC", match[0]).casefold()
            pieces.append(piece)
            self._at.append(length)
            self._spans.append(match.span())
            length += len(piece)
        self.text = "".join(pieces)

    def find(self, wanted: str) -> Iterator[tuple[int, int]]:
        """Yield where a folded text stands, in the original text; whole characters."""
        start = self.text.find(wanted)
        while start >= 0:
            end = start + len(wanted)
            first = bisect_right(self._at, start) - 1
            last = bisect_right(self._at, end - 1) - 1
            yield self._spans[first][0], self._spans[last][1]
            start = self.text.find(wanted, end)


class Spread:
    """Looks for known values in texts.

    Args:
        known: what was found.
    """

    def __init__(self, known: Iterable[Known]) -> None:
        self._known: dict[str, list[Known]] = {}
        for value in dict.fromkeys(known):
            wanted = Folded(value.text).text.strip()
            if len(wanted) >= (_LEAST_DIGITS if wanted.isdecimal() else _LEAST):
                self._known.setdefault(wanted, []).append(value)

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield where known values stand, and what they are: `(start, end, label)`."""
        if not self._known:
            return
        folded = Folded(text)
        for wanted, values in self._known.items():
            for start, end in folded.find(wanted):
                for value in values:
                    if _same(text[start:end], value) and _alone(text, start, end):
                        yield start, end, value.label
                        break

    def __repr__(self) -> str:
        return f"Spread({len(self._known)} values)"


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
