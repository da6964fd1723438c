"""The guard over JSON lines: one line out for each line in, in order, whatever is in it."""

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from endoscope.guard.files import Source, Target, reading, writing
from endoscope.guard.partial import Partial
from endoscope.guard.redact import Redaction
from endoscope.guard.scoring import UnscoredError
from endoscope.guard.sniff import Ahead
from endoscope.guard.spans import Span

if TYPE_CHECKING:
    from endoscope.guard.guard import Guard

Id = str | int | None


@dataclass
class Summary:
    """What was done.

    Attributes:
        lines: how many.
        failed: how many of them could not be done.
        spans: how many values of each label were found.
        resumed: how many lines were there from an earlier run.
    """

    lines: int = 0
    failed: int = 0
    spans: Counter[str] = field(default_factory=Counter)
    resumed: int = 0


class Line(NamedTuple):
    """A line of input that can be worked on."""

    id: Id
    text: str


class Problem(NamedTuple):
    """A line of input that cannot, without its text."""

    id: Id
    error: str


def redact_lines(
    guard: "Guard",
    source: Source,
    target: Target,
    *,
    keep_text: bool = False,
    advance: Callable[[int], None] = lambda amount: None,
) -> Summary:
    """Redact `{"id", "text"}` lines into `{"id", "redacted", "spans"}` lines.

    A line that cannot be done gives `{"id" or null, "line", "error"}`, without its text, and the
    rest goes on. Other keys of the input are dropped: nobody has looked at what they hold. Memory
    holds one batch. From a file to a file, the output appears when it is whole; an interrupted run
    is gone on with if input, policy and probe are the same.

    Args:
        guard: does the work.
        source: a file, or an open one in binary mode.
        target: likewise.
        keep_text: put the text of each line into the output too.
        advance: called with the number of bytes that were done.

    Raises:
        InputError: the source cannot be read or the target not be written.
    """
    made_from = {"keep_text": keep_text, "guard": guard.identity}
    with reading(source) as incoming, writing(source, target, made_from) as writer:
        job = _Job(guard, keep_text, advance)
        batches = _batches(incoming)
        if isinstance(writer, Partial) and writer.lines:
            batches = job.resume(batches, writer.earlier(), writer.lines)
        for batch in batches:
            writer.write(job.run(batch))
    return job.summary


def _batches(stream: Ahead) -> Iterator[list[bytes]]:
    """Yield the lines of a stream, as many at a time as have come, without their line feeds.

    A pipe hands on what it has, so a line does not wait for the next ones.
    """
    rest: list[bytes] = []
    first = True
    while chunk := stream.read1():
        if b"\n" not in chunk:
            rest.append(chunk)
            continue
        *lines, last = (b"".join(rest) + chunk).split(b"\n")
        rest = [last]
        yield [lines[0].removeprefix(BOM_UTF8), *lines[1:]] if first else lines
        first = False
    if last := b"".join(rest):
        yield [last.removeprefix(BOM_UTF8) if first else last]


def parse(raw: bytes) -> Line | Problem:
    """Read a line of input. A problem names what is wrong, never what the line says."""
    if not raw.strip():
        return Problem(None, "the line is empty")
    try:
        record = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Problem(None, f"not valid UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        return Problem(None, f"not valid JSON at character {error.pos}")
    except (ValueError, RecursionError):  # a number of thousands of digits, deep nesting
        return Problem(None, "not JSON that can be read")
    if not isinstance(record, dict):
        return Problem(None, 'not an object with "id" and "text"')
    own = record.get("id")
    if isinstance(own, bool) or not isinstance(own, str | int | None):
        return Problem(None, '"id" is not a string or a whole number')
    if not isinstance(record.get("text"), str):
        return Problem(own, '"text" is not a string' if "text" in record else 'no "text"')
    return Line(own, record["text"])


class _Job:
    """The work on one file: what is done, and the numbers of the lines."""

    def __init__(self, guard: "Guard", keep_text: bool, advance: Callable[[int], None]) -> None:
        self.summary = Summary()
        self._guard = guard
        self._keep_text = keep_text
        self._advance = advance

    def run(self, batch: list[bytes]) -> bytes:
        """Return the output lines of a batch of input lines."""
        parsed = [parse(raw) for raw in batch]
        redactions = self._guard.redact_each([p.text for p in parsed if isinstance(p, Line)])
        out = []
        for line in parsed:
            self.summary.lines += 1
            result = next(redactions) if isinstance(line, Line) else line
            out.append(encode(self._record(line, result)))
        self._advance(sum(len(raw) + 1 for raw in batch))
        return b"".join(out)

    def _record(
        self, line: Line | Problem, result: Redaction | UnscoredError | Problem
    ) -> dict[str, Any]:
        if isinstance(line, Line) and isinstance(result, Redaction):
            self.summary.spans.update(span.label for span in result.spans)
            text = {"text": line.text} if self._keep_text else {}
            return {"id": line.id, **result.record(), **text}
        self.summary.failed += 1
        error = result.error if isinstance(result, Problem) else str(result)
        return {"id": line.id, "line": self.summary.lines, "error": error}

    def resume(
        self, batches: Iterable[list[bytes]], earlier: Iterator[bytes], done: int
    ) -> Iterator[list[bytes]]:
        """Go over what an earlier run did, and yield the rest.

        The guard is shown the values of that run, so that pseudonyms go on as they were.
        """
        for batch in batches:
            for raw, old in zip(batch, islice(earlier, len(batch)), strict=False):
                self._replay(parse(raw), json.loads(old))
            skipped = min(len(batch), done - self.summary.resumed)
            self.summary.resumed += skipped
            self._advance(sum(len(raw) + 1 for raw in batch[:skipped]))
            if rest := batch[skipped:]:
                yield rest

    def _replay(self, line: Line | Problem, record: Mapping[str, Any]) -> None:
        self.summary.lines += 1
        if "error" in record or isinstance(line, Problem):
            self.summary.failed += 1
            return
        spans = [Span(**span) for span in record["spans"]]
        self.summary.spans.update(span.label for span in spans)
        self._guard.replace(line.text, spans)


def encode(record: Mapping[str, Any]) -> bytes:
    """Return a line of JSON."""
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # lone surrogates exist in JSON only as escapes
        return json.dumps(record).encode() + b"\n"
