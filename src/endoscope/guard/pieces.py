"""Plain text, cut into pieces as it comes, so that nothing has to be read to its end first."""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import NamedTuple

import regex

from endoscope.guard.sniff import Ahead
from endoscope.guard.validators.secrets import KEY_BEGIN, KEY_BODY

_PIECE = 1 << 13  # bytes: what is worked on at once
_MOST = 1 << 16  # bytes after which a line is cut before its end
_SILENCE, _PATIENCE = 0.1, 1.0  # seconds
_LINE, _BLANK_LINE = regex.compile(rb"(?r)\n"), regex.compile(rb"(?r)\n\r?\n")
_KEY = regex.compile(rf"{KEY_BEGIN}{KEY_BODY}\s*+".encode())
ESCAPED = regex.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as `surrogateescape` reads


class Piece(NamedTuple):
    """A piece of a text.

    Attributes:
        raw: what it says; nothing at the end of the text.
        whole: whether it ends where a line or the text does. If not, its line is too long to be
            held, and what follows belongs to it.
    """

    raw: bytes
    whole: bool


class Pieces:
    """The pieces of a text, in order.

    A piece ends with a paragraph, or with a line if the paragraph is longer than a piece. A pipe
    that is silent is not waited for: the lines that have come are a piece. Private keys in PEM form
    are kept together, for they hold blank lines.

    Args:
        stream: the text, in bytes.
    """

    def __init__(self, stream: Ahead) -> None:
        self._stream = stream
        self._held = b""
        self._more = True

    def take(self) -> Piece:
        """Return the next piece."""
        self._gather()
        last = not self._more and len(self._held) < _PIECE
        end = 0 if last else _end(self._held)
        cut = end or len(self._held)
        if not end and self._more and self._held.endswith(b"\r"):
            cut -= 1  # its line feed may follow
        raw, self._held = self._held[:cut], self._held[cut:]
        return Piece(raw, end > 0 or not self._more)

    def give_back(self, rest: bytes) -> None:
        """Put the end of a piece back, to be the beginning of the next."""
        self._held = rest + self._held

    def _gather(self) -> None:
        """Read until a piece is full, or until there are lines and for a while nothing more."""
        until = inf
        while self._more and len(self._held) < _MOST:
            if _end(self._held):
                if len(self._held) >= _PIECE:
                    return
                until = min(until, monotonic() + _PATIENCE)
                if not self._stream.ready(min(_SILENCE, max(0.0, until - monotonic()))):
                    return
            chunk = self._stream.read1()
            self._more = bool(chunk)
            self._held += chunk


def _end(held: bytes) -> int:
    """Where a piece can end without what follows; 0: nowhere yet."""
    wanted = (_BLANK_LINE, _LINE) if len(held) >= _PIECE else (_LINE,)
    for limit in (_PIECE, len(held)):
        keys = _keys(held[:limit])
        for ends in wanted:
            if place := _last(ends, held, limit, keys):
                return place
    return 0


def _keys(held: bytes) -> list[tuple[int, int]]:
    """Where private keys are, in order: from the header to what cannot be of them."""
    if not held.isascii():
        text = held.decode("utf-8", "surrogateescape")
        held = ESCAPED.sub("=", text).encode()  # a bad byte does not end a key
    return [key.span() for key in _KEY.finditer(held)]


def _last(
    ends: "regex.Pattern[bytes]", held: bytes, limit: int, keys: Sequence[tuple[int, int]]
) -> int:
    """End of the last match before a limit that is not inside a key; 0: there is none."""
    while found := ends.search(held, 0, limit):
        place = int(found.end())
        # The last key that begins before this place; the end of its header or body is inside it.
        index = bisect_left(keys, (place, 0)) - 1
        if index < 0 or keys[index][1] < place:
            return place
        limit = keys[index][0]
    return 0
