"""Server-sent events, as bytes come: https://html.spec.whatwg.org/multipage/server-sent-events."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_END = re.compile(rb"\r\n|\n|\r")
MOST_BYTES = 16 * 2**20


class BrokenStreamError(Exception):
    """An event that does not end."""


class Event(NamedTuple):
    """One event, or a block of comments.

    Attributes:
        lines: its lines in order, without their ends; `data` stands where its data was.
        data: what its data lines say together; None: it has none.
    """

    lines: Sequence[str]
    data: str | None

    def write(self, data: str | None) -> bytes:
        """Return the event with other data; None: as it is."""
        data = self.data if data is None else data
        lines: list[str] = []
        for line in self.lines:
            if line == "data":
                lines += (f"data: {piece}" for piece in (data or "").split("\n"))
            else:
                lines.append(line)
        return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Event({len(self.lines)} lines)"


def event(data: str) -> bytes:
    """Return an event of ours; the data is one line."""
    return Event(("data",), data).write(None)


class Parser:
    """Takes bytes however they are cut, and gives events."""

    def __init__(self) -> None:
        self._bytes = b""
        self._lines: list[str] = []
        self._data: list[str] = []
        self._size = 0  # of the lines
        self._first = True
        self._after_return = False

    def push(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that are complete.

        Raises:
            BrokenStreamError: an event is longer than any answer.
        """
        if not chunk:
            return
        if self._after_return:  # the line had ended; this is the rest of its end
            chunk, self._after_return = chunk.removeprefix(b"\n"), False
        held, start = self._bytes + chunk, 0
        for end in _END.finditer(held, len(self._bytes)):
            line, start = held[start : end.start()], end.end()
            if found := self._take(line):
                yield found
        self._after_return = held.endswith(b"\r")
        self._bytes = held[start:]
        if self._size + len(self._bytes) > MOST_BYTES:
            raise BrokenStreamError

    def finish(self) -> Iterator[Event]:
        """Yield what there was when the bytes ended: a last event that nothing closed."""
        yield from self.push(b"\n\n")

    def _take(self, raw: bytes) -> Event | None:
        """Take one line; return the event that it ends."""
        line = raw.decode("utf-8", "replace")
        if self._first:
            line, self._first = line.removeprefix("\ufeff"), False
        if line:
            self._size += len(raw)
            self._add(line)
            return None
        if not self._lines:
            return None
        found = Event(self._lines, "\n".join(self._data) if self._data else None)
        self._lines, self._data, self._size = [], [], 0
        return found

    def _add(self, line: str) -> None:
        name, _, value = line.partition(":")
        if name != "data":
            self._lines.append(line)
            return
        if not self._data:
            self._lines.append("data")
        self._data.append(value.removeprefix(" "))

    def __repr__(self) -> str:
        return f"Parser({self._size + len(self._bytes)} bytes held)"
