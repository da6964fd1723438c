"""`endoscope guard`: find personal data in text and take it out."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.guard import Guard, Summary
    from endoscope.guard.sniff import Ahead

_SAID = 10  # problems of a text, one by one
_LINES, _TEXT = frozenset({".jsonl", ".ndjson"}), frozenset({".txt", ".md", ".log"})


def guard(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help='JSON lines `{"id", "text"}`, or a text file. `-` or nothing: standard input.',
            show_default=False,
        ),
    ] = "-",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here, not to standard output.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="What to look for and what to do with it: `pii`, or a YAML file.")
    ] = "pii",
    show_policy: Annotated[
        bool, typer.Option("--show-policy", help="Print the policy, to start one of your own.")
    ] = False,
    text: Annotated[
        bool, typer.Option("--text", help="The input is plain text, whatever it is called.")
    ] = False,
    keep_text: Annotated[
        bool, typer.Option("--keep-text", help="Put the original text into the output as well.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Plain text: print `redacted` and `spans` as JSON. Lines: print the summary as "
            "JSON, if the lines go to a file.",
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model to read with: `gemma-3-270m` (English, Japanese) or "
            "`smollm2-135m-instruct` (English alone, and it misses more names).",
            show_default="gemma-3-270m",
        ),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Read with this probe, not the policy's: the folder of one, or "
            "`pii-gemma-3-270m-stream`, which takes half the time and finds fewer names.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where it runs: `auto`, `cpu`, `cuda`, `mps`.")
    ] = "auto",
) -> None:
    """Find personal data in text, and redact it.

    What cannot be read or scored is never passed on: an `error` line without its text takes the
    place of a JSON line, `[UNREADABLE: …]` or `[UNSCORED]` that of plain text. The rest is done and
    the exit code is 2. A long run over a file of JSON lines that was interrupted goes on when the
    same command is given again.

    **Examples**

    - `endoscope guard mails.jsonl -o clean.jsonl`:
    one `{"id", "redacted", "spans"}` line for each `{"id", "text"}` line

    - `tail -f app.log | endoscope guard`:
    plain text through a pipe, each line as it comes

    - `endoscope guard letter.txt --json`:
    where the values are, in Unicode code points of the text

    - `endoscope guard --show-policy > mine.yaml`, then
    `endoscope guard mails.jsonl -o clean.jsonl --policy mine.yaml`:
    other labels, thresholds and replacements
    """
    if show_policy:
        from endoscope.guard.policy import read_policy

        sys.stdout.write(read_policy(policy)[0])
        return
    from endoscope.guard import Guard, Policy
    from endoscope.guard.files import check_target, reading
    from endoscope.guard.text import record_text

    opened = Policy.load(policy)  # what is wrong is said before the model, which takes longer
    given = sys.stdin.buffer if source == "-" else Path(source)
    if output is not None:
        check_target(given, output)
    with reading(given) as stream:
        suffix = Path(source).suffix.lower()
        lines = not text and (suffix in _LINES or (suffix not in _TEXT and stream.is_lines()))
        if keep_text and not (lines or as_json):
            raise InputError(
                "Redacted text has no place for the original.", "Give --json with --keep-text."
            )
        ready = Guard.load(opened, model=model, probe=probe, device=device)
        if as_json and not lines:
            record_text(ready, stream, output or sys.stdout.buffer, keep_text=keep_text)
            return
        again = Path(source) if Path(source).is_file() else stream
        summary = _work(ready, again, output, lines, keep_text)
    if lines:
        _report(summary, as_json and output is not None)
    if summary.failed:
        print(
            f"endoscope: lines that failed: {summary.failed:,}; the output says so in their "
            "places.",
            file=sys.stderr,
        )
        raise typer.Exit(2)


def _work(
    guard: "Guard", source: "Path | Ahead", output: Path | None, lines: bool, keep_text: bool
) -> "Summary":
    from endoscope.progress import progress

    size = source.stat().st_size if isinstance(source, Path) else 0
    target = output or sys.stdout.buffer
    problems = _Problems()
    try:
        with progress("guard", size, show=output is not None and size > 0) as advance:
            if lines:
                return guard.lines(source, target, keep_text=keep_text, advance=advance)
            return guard.text(source, target, warn=problems.say, advance=advance)
    except KeyboardInterrupt:
        if lines and size and output:
            with suppress(OSError):
                print(
                    f"{output}.partial has what is done; the same command goes on from there.",
                    file=sys.stderr,
                )
        raise
    finally:
        problems.end()


class _Problems:
    """The first problems of a text as they come; a file of another encoding has thousands."""

    def __init__(self) -> None:
        self._count = 0

    def say(self, problem: str) -> None:
        self._count += 1
        if self._count <= _SAID:
            print(f"endoscope: {problem}", file=sys.stderr)

    def end(self) -> None:
        if self._count > _SAID:
            print(f"endoscope: and {self._count - _SAID:,} more", file=sys.stderr)


def _report(summary: "Summary", as_json: bool) -> None:
    spans = dict(sorted(summary.spans.items()))
    if as_json:
        counts = {"lines": summary.lines, "failed": summary.failed, "resumed": summary.resumed}
        print(json.dumps({**counts, "spans": spans}))
        return
    found = ", ".join(f"{label} {count:,}" for label, count in spans.items()) or "nothing found"
    earlier = f" ({summary.resumed:,} of them by an earlier run)" if summary.resumed else ""
    print(f"lines {summary.lines:,}{earlier}: {found}", file=sys.stderr)
