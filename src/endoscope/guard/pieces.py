"""Plain text, cut into pieces as it comes, so that nothing has to be read to its end first."""

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
_OPEN_KEY = regex.compile(rf"{KEY_BEGIN}{KEY_BODY}\s*+\Z".encode())


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
    places = (_last(end, held, limit) for limit in (_PIECE, len(held)) for end in wanted)
    return next((place for place in places if place), 0)


def _last(ends: "regex.Pattern[bytes]", held: bytes, limit: int) -> int:
    """End of the last match before a limit that is not inside a key; 0: there is none."""
    while found := ends.search(held, 0, limit):
        key = _OPEN_KEY.search(held, 0, found.end())
        if not key:
            return int(found.end())
        limit = key.start()
    return 0
