"""Files of lines that users give, JSON or plain, and errors that name the line."""

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from endoscope.errors import InputError


def read_bytes(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).", "Give a file.") from None


def numbered(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b"\n"), start=1):
        if line.strip():
            yield number, line.removesuffix(b"\r")


@contextmanager
def on_line(path: Path, number: int) -> Iterator[None]:
    """Put the file and the line before what an `InputError` says."""
    try:
        yield
    except InputError as error:
        # Not `from error`: a traceback would show the line, which may be personal.
        raise InputError(f"{path.name}, line {number}: {error.message}", error.hint) from None


def text(line: bytes) -> str:
    """Return a line as text.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"invalid UTF-8 at byte {error.start} of the line.", "Save the file as UTF-8."
        ) from None


def json_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line.

    Raises:
        InputError: there is none.
    """
    try:
        row = json.loads(text(line))
    except (ValueError, RecursionError) as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"not valid JSON{where}.", "Give one JSON object a line.") from None
    if not isinstance(row, dict):
        raise InputError("not a JSON object.", 'Give {"id": …, "text": …} or the like.')
    return row


def identity(row: dict[str, Any]) -> str | None:
    """Return the `"id"` of a line as text; None where it is missing or null.

    Raises:
        InputError: it is neither a text nor a whole number.
    """
    found = row.get("id")
    if isinstance(found, bool) or not isinstance(found, str | int | None):
        raise InputError('"id" is no text.', "Give a text or a whole number.")
    return None if found is None else str(found)
