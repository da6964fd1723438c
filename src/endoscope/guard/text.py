"""The guard over plain text: redacted in pieces as it comes, whatever is in it."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import regex

from endoscope.errors import InputError
from endoscope.guard.files import Source, Target, reading, writing
from endoscope.guard.lines import Summary, encode
from endoscope.guard.pieces import ESCAPED, Piece, Pieces
from endoscope.guard.scoring import UnscoredError
from endoscope.guard.spans import Span
from endoscope.guard.windows import break_before

if TYPE_CHECKING:
    from endoscope.guard.guard import Guard

UNREADABLE, UNSCORED = "[UNREADABLE: not valid UTF-8]", "[UNSCORED]"
_CONTEXT = 1000  # characters on either side of a value that tell what it is
_LINE = regex.compile(r"[^\n]*\n|[^\n]+")


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
    reads each piece by itself, but those of one line with the words before it. Lines of a pipe that
    is silent for a tenth of a second are not held back to be read with those that follow.

    A line that is not UTF-8 is replaced by `UNREADABLE` and a piece that cannot be scored by
    `UNSCORED`, with what is left of its line; the rest goes on.

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
            done, rest = job.run(piece)
            pieces.give_back(rest)
            writer.write(done)
            advance(len(piece.raw) - len(rest))
    return job.summary


def record_text(guard: "Guard", source: Source, target: Target, *, keep_text: bool = False) -> None:
    """Redact plain text as a whole, into one JSON object `{"redacted", "spans"}`.

    Args:
        guard: does the work.
        source: a file, or an open one in binary mode; all of it is read first.
        target: likewise.
        keep_text: put the original into the object too, as `text`.

    Raises:
        InputError: the source cannot be read or is not UTF-8, or the target cannot be written.
        UnscoredError: the text could not be scored.
    """
    with reading(source) as stream:
        try:
            text = stream.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"The text is not valid UTF-8 at byte {error.start}.",
                "As plain text, without JSON, all lines but those that are not are done.",
            ) from None
        record = guard.redact(text).record() | ({"text": text} if keep_text else {})
        with writing(source, target) as writer:
            writer.write(encode(record))


class _Job:
    """What is being done, and what has been.

    A bad byte is read as a lone surrogate, which no text in UTF-8 holds, so a character of the text
    stays a character, and the lines that have one are known at the end. What is scored has U+FFFD.
    """

    def __init__(self, guard: "Guard", warn: Callable[[str], None]) -> None:
        self._guard = guard
        self._warn = warn
        self._line = 1  # which line comes next, or is in the middle
        self._before = ""  # what is written already and has to be read with what comes next
        self._dropping = False  # what is left of a line whose beginning could not be done
        self.summary = Summary()

    def run(self, piece: Piece) -> tuple[bytes, bytes]:
        """Redact a piece; return that and what of it is to be read with what follows."""
        if not self.summary.lines and piece.raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise InputError("The text is UTF-16.", "Convert it: `iconv -f UTF-16 -t UTF-8`.")
        line_end, raw = self._drop(piece.raw)
        if not raw:
            return line_end, b""
        decoder = getincrementaldecoder("utf-8")("surrogateescape")
        text = decoder.decode(raw, final=piece.whole)
        bad = not piece.whole and ESCAPED.search(text, text.rfind("\n") + 1) is not None
        known, done = self._before + ESCAPED.sub("\ufffd", text), len(self._before)
        try:
            spans = [span for span in self._guard.scan(known) if span.end > done]
        except UnscoredError as error:
            self._before = ""
            self._dropping = not piece.whole and not text.endswith("\n")
            return line_end + self._failed(text, UNSCORED, error.message), b""
        seam = len(known) if piece.whole or bad else _seam(known, done, spans)
        self._before = _needed(known, seam, spans, piece.whole or bad)
        self._dropping = bad
        written = line_end + self._lines(text[: seam - done], _within(known, spans, done, seam))
        rest = text[seam - done :].encode("utf-8", "surrogateescape") + decoder.getstate()[0]
        return written, b"" if bad else rest

    def _drop(self, raw: bytes) -> tuple[bytes, bytes]:
        """Take away what is left of a line that is dropped; return its end, and what follows it."""
        if not self._dropping:
            return b"", raw
        end = raw.find(b"\n") + 1
        if not end:
            return b"", b""
        self._dropping = False
        self._line += 1
        return (b"\r\n" if raw[:end].endswith(b"\r\n") else b"\n"), raw[end:]

    def _lines(self, text: str, spans: Sequence[Span]) -> bytes:
        """Redact lines, and put a marker in the place of each that is not UTF-8."""
        written, start = [], 0
        for bad, lines in groupby(_LINE.findall(text), lambda line: bool(ESCAPED.search(line))):
            if bad:
                for line in lines:
                    written.append(self._failed(line, UNREADABLE, "not valid UTF-8"))
                    start += len(line)
            else:
                end = start + sum(map(len, lines))
                written.append(self._done(text[start:end], _within(text, spans, start, end)))
                start = end
        return b"".join(written)

    def _done(self, text: str, spans: Sequence[Span]) -> bytes:
        result = self._guard.replace(text, spans)
        self.summary.spans.update(span.label for span in result.spans)
        self._count(text)
        return result.redacted.encode()

    def _failed(self, text: str, marker: str, reason: str) -> bytes:
        first = self._line
        self.summary.failed += self._count(text)
        last = self.summary.lines
        self._warn(f"{f'line {first}' if last == first else f'lines {first} to {last}'}: {reason}")
        end = "\r\n" if text.endswith("\r\n") else "\n" if text.endswith("\n") else ""
        return (marker + end).encode()

    def _count(self, text: str) -> int:
        """Count the lines that something has a part of."""
        ended = text.count("\n")
        begun = 0 if text.endswith("\n") else 1
        self.summary.lines = self._line - 1 + ended + begun
        self._line += ended
        return ended + begun


def _seam(text: str, done: int, spans: Sequence[Span]) -> int:
    """A place between words that no value crosses, with enough of the text after it."""
    wanted = max(done, len(text) - _CONTEXT)
    place = break_before(text, wanted, min(_CONTEXT, wanted - done))
    for span in spans:
        if span.start < place < span.end:
            place = span.start if span.start > done else span.end
    return place


def _needed(text: str, seam: int, spans: Sequence[Span], ended: bool) -> str:
    """What of a text has to be read again to know what stands behind a seam.

    In the middle of a line that is the words before it; and of a value that is longer than they
    are and may go on, also its beginning, for a key is known by its header.
    """
    start = max(0, seam - _CONTEXT)
    for span in spans:
        if span.start < start and span.end <= seam and not text[span.end : seam].strip():
            return text[span.start :][:_CONTEXT] + text[start:seam]
    return "" if ended else text[start:seam]


def _within(text: str, spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """The parts of spans that lie in a part of a text, counted from where it begins."""
    return list(_parts(text, spans, start, end))


def _parts(text: str, spans: Sequence[Span], start: int, end: int) -> Iterator[Span]:
    for span in spans:
        low, high = max(span.start, start), min(span.end, end)
        inside = text[low:high]
        low += len(inside) - len(inside.lstrip())
        high -= len(inside) - len(inside.rstrip())
        if low < high:
            yield span._replace(start=low - start, end=high - start)
