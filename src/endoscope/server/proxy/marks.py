"""From what was found in documents to leaves with placeholders."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from endoscope.guard import Span
from endoscope.server.errors import ApiError
from endoscope.server.proxy.parts import Leaf
from endoscope.server.proxy.placeholders import Form
from endoscope.server.proxy.spread import Known, spread
from endoscope.server.proxy.vault import EXACT, Vault

Document = Sequence[Leaf]
"""Leaves that are read together, for what stands around a value tells what it is."""


class Mark(NamedTuple):
    """A piece of a leaf that is to be replaced.

    Attributes:
        start: first character.
        end: end, exclusive.
        label: what it is.
        literal: whether it is, or holds, what only looks like a placeholder.
    """

    start: int
    end: int
    label: str
    literal: bool = False


def document_text(document: Document) -> str:
    """Return the text that the guard reads."""
    return "".join(leaf.text + leaf.after for leaf in document)


def replace(
    documents: Sequence[Document], found: Mapping[str, Sequence[Span]], vault: Vault
) -> Counter[str]:
    """Put placeholders into the leaves of documents.

    What was found once is replaced wherever it stands: in the request and, by the vault, in the
    session.

    Args:
        documents: leaves, in order.
        found: the spans of each document's text, in order, without overlaps.
        vault: gives placeholders.

    Returns:
        How many pieces were replaced, by label; what only looks like a placeholder as `literal`.

    Raises:
        ApiError: something is in a leaf that cannot be replaced, or there are too many values.
    """
    marked = [
        pair
        for document in documents
        for pair in _split(document, found[document_text(document)], vault.form)
    ]
    again = spread(_known(marked, vault), [leaf.text for leaf, _ in marked])
    counts: Counter[str] = Counter()
    for (leaf, marks), others in zip(marked, again, strict=True):
        settled = _united([*marks, *(Mark(*other) for other in others)])
        if settled and leaf.fixed:
            raise ApiError(
                422,
                f"`{leaf.place}` seems to hold personal data, and an identifier cannot be "
                "replaced: rename it.",
                param=leaf.place,
                code="personal_identifier",
            )
        leaf.sent = _replaced(leaf.text, settled, vault)
        counts.update("literal" if mark.literal else mark.label for mark in settled)
    return counts


def _split(
    document: Document, spans: Sequence[Span], form: Form
) -> Iterator[tuple[Leaf, list[Mark]]]:
    """Each leaf of a document with its marks. A span over several leaves is cut at their ends."""
    start = index = 0
    for leaf in document:
        end = start + len(leaf.text)
        marks = [Mark(*literal, literal=True) for literal in form.find(leaf.text)]
        while index < len(spans) and spans[index].start < end:
            span = spans[index]
            low, high = max(span.start, start), min(span.end, end)
            if low < high:
                marks.append(Mark(low - start, high - start, span.label))
            if span.end > end:  # the next leaf has some of it too
                break
            index += 1
        yield leaf, _united(marks)
        start = end + len(leaf.after)


def _known(marked: Iterable[tuple[Leaf, list[Mark]]], vault: Vault) -> Iterator[Known]:
    """All that was found, before and now."""
    for value in vault:
        if not value.literal:
            yield Known(value.text, value.label, value.exact)
    for leaf, marks in marked:
        for mark in marks:
            if not mark.literal:
                text = leaf.text[mark.start : mark.end]
                yield Known(text, mark.label, mark.label in EXACT)


def _united(marks: Iterable[Mark]) -> list[Mark]:
    """Marks that overlap as one, in order; the longest says what it is."""
    united: list[Mark] = []
    longest = 0
    for mark in sorted(marks):
        length = mark.end - mark.start
        if not united or mark.start >= united[-1].end:
            united.append(mark)
            longest = length
            continue
        last = united[-1]
        label = mark.label if length > longest else last.label
        longest = max(longest, length)
        united[-1] = Mark(last.start, max(last.end, mark.end), label, last.literal or mark.literal)
    return united


def _replaced(text: str, marks: Sequence[Mark], vault: Vault) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, label, literal in marks:
        pieces += text[done:start], vault.placeholder(text[start:end], label, literal=literal)
        done = end
    return "".join([*pieces, text[done:]])
