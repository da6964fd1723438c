"""Telling JSON lines from plain text, in a stream that can be read only once."""

from codecs import BOM_UTF8
from io import UnsupportedOperation
from select import select
from typing import BinaryIO

# Bytes read at a time: so many lines are worked on and written together, and that is what a run
# that is cut off loses. A model needs no more of them for a full batch.
_CHUNK = 1 << 13
_FAR = 1 << 16  # blank bytes after which it is plain text, whatever follows


class Ahead:
    """A stream whose beginning has been looked at and will still be read.

    Args:
        stream: an open one in binary mode.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._seen = b""

    def is_lines(self) -> bool:
        """Whether the first character that is not blank begins a JSON object."""
        while not (start := self._seen.removeprefix(BOM_UTF8).lstrip()) and len(self._seen) < _FAR:
            more = self._some()
            if not more:
                break
            self._seen += more
        return start.startswith(b"{")

    def ready(self, seconds: float) -> bool:
        """Whether there is more to read, or the end, before so many seconds are over."""
        if self._seen:
            return True
        try:
            return bool(select([self._stream], [], [], seconds)[0])
        except (UnsupportedOperation, TypeError):  # in memory: all of it is there
            return True
        except OSError:  # a pipe on Windows, where only sockets can be asked
            return False

    def read1(self, size: int = -1, /) -> bytes:
        """Read what there is, without waiting for more; empty at the end."""
        seen, self._seen = self._seen, b""
        return seen or self._some()

    def read(self, size: int = -1, /) -> bytes:
        """Read all that is left, whatever the size."""
        seen, self._seen = self._seen, b""
        return seen + self._stream.read()

    def _some(self) -> bytes:
        read = getattr(self._stream, "read1", self._stream.read)
        return bytes(read(_CHUNK))
