"""One labelled document, and how a line of JSON becomes one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from endoscope.errors import InputError
from endoscope.jsonl import identity, json_object

NOTHING = "O"
"""The class of tokens outside all spans."""

Message = dict[str, str]


class LabelledSpan(NamedTuple):
    """Characters `[start, end)` of a text, in Unicode code points, and their label."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Document:
    """A text or a conversation, with one label for the whole or with labelled spans.

    Attributes:
        id: its name, unique in the data.
        content: the text, or messages for the model's chat template.
        label: of the whole document; None where there are spans.
        spans: in order and without overlap; None where there is a label.
        group: documents of one group (made from one template, say) stay in one split.
    """

    id: str
    content: str | tuple[Message, ...]
    label: str | None = None
    spans: tuple[LabelledSpan, ...] | None = None
    group: str | None = None


def parse_document(line: bytes) -> Document:
    """Read one line of probe data.

    Raises:
        InputError: says what is wrong with it, without its text.
    """
    row = json_object(line)
    for key in ("text", "messages"), ("label", "spans"):
        given = [name for name in key if name in row]
        if len(given) != 1:
            raise InputError(
                f'{"both" if given else "neither"} "{key[0]}" {"and" if given else "nor"} '
                f'"{key[1]}" given.',
                "Give one of them.",
            )
    name = identity(row)
    if name is None:
        raise InputError('"id" is missing.', "Give every document an id.")
    group = row.get("group")
    if group is not None and not isinstance(group, str | int):
        raise InputError('"group" is no text.', "Give a text or leave it out.")
    content = _text(row["text"]) if "text" in row else _messages(row["messages"])
    label = spans = None
    if "label" in row:
        label = _label(row["label"])
        if not content or (isinstance(content, str) and not content.strip()):
            raise InputError("there is nothing to judge: the text is empty.", "Leave it out.")
    elif isinstance(content, str):
        spans = _spans(row["spans"], len(content))
    else:
        raise InputError('"spans" need "text".', 'Give "text", or a "label" for the messages.')
    return Document(name, content, label, spans, None if group is None else str(group))


def token_labels(offsets: Tensor, spans: Sequence[LabelledSpan], labels: Sequence[str]) -> Tensor:
    """Return the class of each token, `[tokens]` int64.

    A token has the label of the span that it shares the most characters with, else class 0.

    Args:
        offsets: `[tokens, 2]`, characters of each token, end exclusive.
        spans: of the same text.
        labels: classes; spans with another label count as nothing.
    """
    classes = torch.zeros(len(offsets), dtype=torch.long)
    most = torch.zeros(len(offsets), dtype=torch.long)
    for start, end, label in spans:
        if label not in labels:
            continue
        shared = offsets[:, 1].clamp(max=end) - offsets[:, 0].clamp(min=start)
        better = shared > most
        classes[better] = list(labels).index(label)
        most = torch.maximum(most, shared)
    return classes


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError('"text" is no text.', "Give a JSON string.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError("the text has a lone surrogate.", "Replace it, by \\ufffd for example.")
    return value


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not all(
        isinstance(m, dict) and set(m) == {"role", "content"} and isinstance(m["role"], str)
        for m in value
    ):
        raise InputError('"messages" are malformed.', 'Give [{"role", "content"}, …].')
    return tuple({"role": m["role"], "content": _text(m["content"])} for m in value)


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int) or value == "":
        raise InputError("a label is no text.", "Give a text, a whole number, true or false.")
    return str(value)


def _spans(value: Any, length: int) -> tuple[LabelledSpan, ...]:
    if not isinstance(value, list):
        raise InputError('"spans" are no list.', "Give [[start, end, label], …].")
    spans = []
    for number, span in enumerate(value, start=1):
        # type(), for true and false are integers to isinstance
        if not isinstance(span, list) or len(span) != 3 or {type(p) for p in span[:2]} != {int}:
            raise InputError(f"span {number} is malformed.", "Give [start, end, label].")
        start, end, label = span
        if not 0 <= start < end <= length:
            raise InputError(
                f"span {number} ({start} to {end}) is not within the {length} characters.",
                "Count Unicode code points; start < end, end exclusive.",
            )
        if _label(label) == NOTHING:
            raise InputError(
                f"span {number} has the label {NOTHING}, which means no label.", "Leave it out."
            )
        spans.append(LabelledSpan(start, end, _label(label)))
    spans.sort()
    for left, right in pairwise(spans):
        if right.start < left.end:
            raise InputError(
                f"spans overlap ({left.start} to {left.end}, {right.start} to {right.end}).",
                "Keep one of them, or join them.",
            )
    return tuple(spans)
