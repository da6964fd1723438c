"""Synthetic documents whose personal data is known, and how one is put together.

A template names its slots in braces; a slot with a label marks what fills it:
`"{person:NAME} was born in {place}."`. What fills a slot is text, or text that is marked already
(a sentence inside a paragraph, a name inside an e-mail header), whose marks are kept.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Span = tuple[int, int, str]

LABELS = (
    "NAME",
    "ADDRESS",
    "PHONE",
    "EMAIL",
    "ID",
    "DATE_OF_BIRTH",
    "USERNAME",
    "SECRET",
    "IP",
)


class Marked(NamedTuple):
    """Text and the labelled spans in it: start, end (exclusive, in code points), label."""

    text: str
    spans: tuple[Span, ...] = ()


Value = str | Marked


class Document(NamedTuple):
    """One synthetic document, in the shape of the probe data contract."""

    text: str
    spans: list[Span]
    lang: str
    register: str


def mark(text: str, label: str) -> Marked:
    """Marks the whole of a text."""
    return Marked(text, ((0, len(text), label),))


def join(values: Iterable[Value], separator: str = "") -> Marked:
    """Concatenates values, moving their spans along."""
    text, spans = "", []
    for i, value in enumerate(values):
        if i:
            text += separator
        if isinstance(value, Marked):
            spans += [
                (start + len(text), end + len(text), label) for start, end, label in value.spans
            ]
            text += value.text
        else:
            text += value
    return Marked(text, tuple(spans))


def fill(template: str, values: Mapping[str, Value]) -> Marked:
    """Fills `{slot}` and `{slot:LABEL}` in a template (a literal brace is doubled).

    Args:
        template: The text with its slots.
        values: What each slot holds, by the slot's name. Marked text keeps its own spans, so a
            slot that has a label takes plain text.

    Raises:
        KeyError: A slot has no value.
        ValueError: The label is not one of `LABELS`, or the slot's text is marked already.
    """
    parts: list[Value] = []
    for literal, slot, label, _ in string.Formatter().parse(template):
        parts.append(literal)
        if slot is None:
            continue
        value = values[slot]
        if label:
            if label not in LABELS or isinstance(value, Marked):
                raise ValueError(f"slot {slot!r} cannot be labelled {label!r}")
            value = mark(value, label)
        parts.append(value)
    return join(parts)


def document(content: Value, lang: str, register: str) -> Document:
    """Makes a document of filled text."""
    text, spans = content if isinstance(content, Marked) else (content, ())
    return Document(text, sorted(spans), lang, register)
