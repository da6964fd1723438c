"""`endoscope guard`: find personal data in text and take it out."""

import json
import sys
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer

from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.guard import Guard, Summary

_LINES, _TEXT = frozenset({".jsonl", ".ndjson"}), frozenset({".txt", ".md", ".log"})


def guard(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[IN]",
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
            help="Model to read with: `gemma-3-270m` (English, Japanese) or the faster "
            "`smollm2-135m-instruct` (English).",
            show_default="gemma-3-270m",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where it runs: `auto`, `cpu`, `cuda`, `mps`.")
    ] = "auto",
) -> None:
    r"""Find personal data in text, and redact it.

    A line that cannot be read or scored is never passed on: an `error` line without its text takes
    its place, the rest is done, and the exit code is 2. Long runs from file to file that were
    interrupted go on when the same command is given again.

    \b
    **Examples**

    `endoscope guard mails.jsonl -o clean.jsonl`
    one `{"id", "redacted", "spans"}` line for each `{"id", "text"}` line

    `echo "I am Mary Jones, 020 7946 0958" | endoscope guard`
    plain text through a pipe

    `endoscope guard letter.txt --json`
    where the values are, in Unicode code points of the text

    `endoscope guard mails.jsonl -o clean.jsonl --policy mine.yaml`
    other labels, thresholds and replacements: copy the file that
    `python -c "from endoscope.guard.policy import shipped_policies as s; print(s()['pii'])"` names
    """
    stream = None if source == "-" else Path(source)
    if stream and not stream.exists():
        raise InputError(f"There is no file {stream}.")
    if stream and stream.is_dir():
        raise InputError(f"{stream} is a folder.", "Give a file.")
    from endoscope.guard import Guard, Policy

    opened = Policy.load(policy)  # before the model, which takes longer
    plain = text or _is_text(stream)
    ready = Guard.load(opened, model=model, device=device)
    if plain:
        _text(ready, stream, output, keep_text, as_json)
    else:
        _lines(ready, stream, output, keep_text, as_json)


def _is_text(path: Path | None) -> bool:
    """By its name; else by whether the first character that is not blank begins a JSON object."""
    if path and path.suffix.lower() in _LINES | _TEXT:
        return path.suffix.lower() in _TEXT
    if path is None:
        # Only looks: what is peeked at is read again.
        start = cast(BufferedReader, sys.stdin.buffer).peek(1)
    elif path.is_file():
        with path.open("rb") as file:
            start = file.read(1 << 16)
    else:
        return False
    return not start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def _text(
    guard: "Guard", path: Path | None, output: Path | None, keep_text: bool, as_json: bool
) -> None:
    from endoscope.artifacts import atomic_file

    data = path.read_bytes() if path else sys.stdin.buffer.read()
    name = str(path or "standard input")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not valid UTF-8 at byte {error.start}.") from None
    redaction = guard.redact(text)
    result = redaction.redacted
    if as_json:
        record = {"redacted": result, "spans": [span._asdict() for span in redaction.spans]}
        result = (
            json.dumps(record | ({"text": text} if keep_text else {}), ensure_ascii=False) + "\n"
        )
    if output is None:
        _out(result.encode())
        return
    with atomic_file(output, size=len(result.encode())) as temporary:
        temporary.write_bytes(result.encode())


def _out(data: bytes) -> None:
    from endoscope.guard.partial import Writer

    Writer(sys.stdout.buffer, "Standard output").write(data)


def _lines(
    guard: "Guard", path: Path | None, output: Path | None, keep_text: bool, as_json: bool
) -> None:
    from endoscope.guard.lines import redact_lines
    from endoscope.progress import progress

    source: Path | BinaryIO = path or sys.stdin.buffer
    target: Path | BinaryIO = output or sys.stdout.buffer
    size = path.stat().st_size if path else 0
    try:
        with progress("guard", size, show=output is not None and size > 0) as advance:
            summary = redact_lines(guard, source, target, keep_text=keep_text, advance=advance)
    except KeyboardInterrupt:
        if path and output:
            with suppress(OSError):
                print(
                    f"\n{output}.partial has what is done: give the same command again.",
                    file=sys.stderr,
                )
        raise
    _report(summary, as_json and output is not None)
    if summary.failed:
        raise typer.Exit(2)


def _report(summary: "Summary", as_json: bool) -> None:
    spans = dict(sorted(summary.spans.items()))
    if as_json:
        counts = {"lines": summary.lines, "failed": summary.failed, "resumed": summary.resumed}
        print(json.dumps({**counts, "spans": spans}))
        return
    found = ", ".join(f"{label} {count:,}" for label, count in spans.items()) or "nothing found"
    print(f"{summary.lines:,} lines: {found}.", file=sys.stderr)
    if summary.failed:
        print(
            f"endoscope: {summary.failed:,} lines failed; the output says why, in their places.",
            file=sys.stderr,
        )
