"""The guard over plain text: redacted in pieces as it comes, whatever is in it."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from endoscope.errors import InputError
from endoscope.guard.files import Source, Target, reading, writing
from endoscope.guard.lines import Summary
from endoscope.guard.pieces import Pieces
from endoscope.guard.redact import Redaction
from endoscope.guard.scoring import UnscoredError
from endoscope.guard.spans import Span
from endoscope.guard.windows import break_before

if TYPE_CHECKING:
    from endoscope.guard.guard import Guard

UNREADABLE, UNSCORED = "[UNREADABLE: not valid UTF-8]", "[UNSCORED]"
_CONTEXT = 1000  # characters after a value that the probe may need to see


def redact_text(
    guard: "Guard",
    source: Source,
    target: Target,
    *,
    warn: Callable[[str], None] = lambda problem: None,
    advance: Callable[[int], None] = lambda amount: None,
) -> Summary:
    """Redact plain text of any length in UTF-8, and write each piece of it when it is done.

    A text of up to 8 KB is one piece. Longer ones are cut at blank lines, at ends of lines where a
    paragraph is longer than that, and between words where a line is longer than 64 KB. The probe
    reads each piece by itself. Lines of a pipe that is silent for a tenth of a second are not held
    back to be read with those that follow.

    A line that is not UTF-8 is replaced by `UNREADABLE` and a piece that cannot be scored by
    `UNSCORED`; the rest goes on.

    Args:
        guard: does the work.
        source: a file, or an open one in binary mode.
        target: likewise.
        warn: called with what was replaced by a marker: which lines, and why.
        advance: called with the number of bytes that were done.

    Raises:
        InputError: the source cannot be read or is UTF-16, or the target cannot be written.
    """
    with reading(source) as stream, writing(source, target) as writer:
        job = _Job(guard, warn)
        pieces = Pieces(stream)
        while (piece := pieces.take()).raw:
            if piece.whole:
                done, rest = b"".join(map(job.lines, _readable(piece.raw))), b""
            else:
                done, rest = job.beginning(piece.raw)
            pieces.give_back(rest)
            writer.write(done)
            advance(len(piece.raw) - len(rest))
    return job.summary


class _Job:
    """What is being done, and what has been."""

    def __init__(self, guard: "Guard", warn: Callable[[str], None]) -> None:
        self._guard = guard
        self._warn = warn
        self._line = 1  # which line comes next, or is in the middle
        self.summary = Summary()

    def lines(self, raw: bytes) -> bytes:
        """Redact whole lines, all of them UTF-8 or a single one that is not."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return self._failed(raw, UNREADABLE, "not valid UTF-8")
        [result] = self._guard.redact_each([text])
        if isinstance(result, UnscoredError):
            return self._failed(raw, UNSCORED, result.message)
        return self._done(raw, result)

    def beginning(self, raw: bytes) -> tuple[bytes, bytes]:
        """Redact the beginning of a line; return that and what is to be read with what follows."""
        decoder = getincrementaldecoder("utf-8")()
        try:
            text = decoder.decode(raw)
            spans = self._guard.scan(text)
        except UnicodeDecodeError:
            return self._failed(raw, UNREADABLE, "not valid UTF-8"), b""
        except UnscoredError as error:
            return self._failed(raw, UNSCORED, error.message), b""
        seam = _seam(text, spans)
        rest = text[seam:].encode() + decoder.getstate()[0]
        result = self._guard.replace(text[:seam], [span for span in spans if span.end <= seam])
        return self._done(raw[: len(raw) - len(rest)], result), rest

    def _done(self, raw: bytes, result: Redaction) -> bytes:
        self.summary.spans.update(span.label for span in result.spans)
        self._count(raw)
        return result.redacted.encode()

    def _failed(self, raw: bytes, marker: str, reason: str) -> bytes:
        if self._line == 1 and raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise InputError("The text is UTF-16.", "Convert it: `iconv -f UTF-16 -t UTF-8`.")
        first = self._line
        self.summary.failed += self._count(raw)
        last = self.summary.lines
        self._warn(f"{f'line {first}' if last == first else f'lines {first} to {last}'}: {reason}")
        end = b"\r\n" if raw.endswith(b"\r\n") else b"\n" if raw.endswith(b"\n") else b""
        return marker.encode() + end

    def _count(self, raw: bytes) -> int:
        """Count the lines that something has a part of."""
        ended = raw.count(b"\n")
        begun = 0 if raw.endswith(b"\n") else 1
        self.summary.lines = self._line - 1 + ended + begun
        self._line += ended
        return ended + begun


def _readable(raw: bytes) -> Iterator[bytes]:
    """Yield the lines that are UTF-8, as many together as follow each other, and others alone."""
    while raw:
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            start = raw.rfind(b"\n", 0, error.start) + 1
            end = raw.find(b"\n", error.start) + 1 or len(raw)
            if start:
                yield raw[:start]
            yield raw[start:end]
            raw = raw[end:]
        else:
            yield raw
            return


def _seam(text: str, spans: Sequence[Span]) -> int:
    """A place between words that no value crosses, with enough of the text after it."""
    place = break_before(text, len(text) - _CONTEXT, _CONTEXT)
    for span in spans:
        if span.start < place < span.end:
            place = span.start or span.end
    return place
