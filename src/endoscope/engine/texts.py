"""Texts from the files that users have."""

import json
from pathlib import Path
from typing import Any

from endoscope.engine.capture import Text
from endoscope.errors import InputError


def read_texts(path: Path) -> tuple[list[str], list[Text]]:
    """Read ids and texts from JSONL, or from a .txt file with one text a line.

    A line of JSONL has `"text"` or `"messages"`, and may have an `"id"`; its number serves if not.

    Raises:
        InputError: the file cannot be read, or a line is not as above; names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    ids: list[str] = []
    texts: list[Text] = []
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if not raw.strip():
            continue
        where = f"{path}, line {number}"
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise InputError(f"{where} is not UTF-8.", "Save the file as UTF-8.") from error
        if path.suffix == ".txt":
            row: Any = {"text": line}
        else:
            row = _parse(line, where)
        ids.append(str(row.get("id", number)))
        texts.append(_text(row, where))
    if not texts:
        raise InputError(f"{path} holds no text.")
    return ids, texts


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON.", 'Write {"id": ..., "text": ...}.') from error
    if not isinstance(row, dict):
        raise InputError(f"{where} is no object.", 'Write {"id": ..., "text": ...}.')
    return row


def _text(row: dict[str, Any], where: str) -> Text:
    match row:
        case {"text": str(text)}:
            return text
        case {"messages": [*messages]} if all(
            isinstance(m, dict)
            and isinstance(m.get("role"), str)
            and isinstance(m.get("content"), str)
            for m in messages
        ):
            return messages
    raise InputError(
        f'{where} has neither "text" (a string) nor "messages" (a list of {{"role", "content"}}).'
    )
