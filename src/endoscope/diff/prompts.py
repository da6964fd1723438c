"""What both models are asked."""

from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from endoscope import jsonl
from endoscope.errors import InputError

_SHIPPED = Path(str(files("endoscope.diff") / "prompts.jsonl"))

OTHER = "other questions"  # the kind of those that have none


class Prompt(NamedTuple):
    """A question, and what kind of question it is.

    Attributes:
        kind: in words, as they follow "in answers to": `facts`, `opinions`, `code and tests`.
        text: of the question.
    """

    kind: str
    text: str


def read_prompts(path: Path = _SHIPPED) -> list[Prompt]:
    """Read prompts from a file of JSON lines `{"prompt": ..., "kind": ...}`.

    Args:
        path: of the file; the prompts that come with Endoscope if left out. They are vague or
            everyday, of nine kinds, and taken by turns: any first part has all kinds.

    Raises:
        InputError: the file cannot be read, has no prompts, or a line is none; names the line.
    """
    found = []
    for number, line in jsonl.numbered(jsonl.read_bytes(path)):
        with jsonl.on_line(path, number):
            found.append(_prompt(jsonl.json_object(line)))
    if not found:
        raise InputError(f"{path} has no prompts.", 'Give lines of {"prompt": ...}.')
    return found


def _prompt(item: dict[str, Any]) -> Prompt:
    text, kind = item.get("prompt"), item.get("kind", OTHER)
    if not (isinstance(text, str) and text.strip() and isinstance(kind, str)):
        raise InputError("it is no prompt.", 'Give {"prompt": ..., "kind": ...}.')
    return Prompt(kind, text)
