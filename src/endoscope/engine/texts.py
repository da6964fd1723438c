"""Texts from the files that users have."""

from pathlib import Path
from typing import Any

from endoscope import jsonl
from endoscope.engine.capture import Text
from endoscope.errors import InputError


def read_texts(path: Path) -> tuple[list[str], list[Text]]:
    """Read ids and texts from JSONL, or from a .txt file with one text a line.

    A line of JSONL has `"text"` or `"messages"`, and may have an `"id"`; its number serves if not.

    Raises:
        InputError: the file cannot be read, a line is not as above, or its id is that of another;
            names the line.
    """
    lines: dict[str, int] = {}
    texts: list[Text] = []
    for number, line in jsonl.numbered(jsonl.read_bytes(path)):
        with jsonl.on_line(path, number):
            row = {"text": jsonl.text(line)} if path.suffix == ".txt" else jsonl.json_object(line)
            given = jsonl.identity(row)
            name = str(number) if given is None else given
            if name in lines:
                raise InputError(
                    f"its id is that of line {lines[name]} (a line without one has its number).",
                    "Give each its own.",
                )
            lines[name] = number
            texts.append(_text(row))
    if not texts:
        raise InputError(f"{path} holds no text.")
    return list(lines), texts


def _text(row: dict[str, Any]) -> Text:
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
        'neither "text" (a string) nor "messages" (a list of {"role", "content"}).', "Give one."
    )
