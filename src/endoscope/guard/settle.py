"""What was found, as spans of whole characters that do not overlap."""

from collections.abc import Container, Iterable, Sequence

from endoscope.guard import boundaries
from endoscope.guard.graphemes import Graphemes
from endoscope.guard.spans import Span, resolve


def whole(spans: Iterable[Span], graphemes: Graphemes) -> list[Span]:
    """Return spans grown to whole characters."""
    covered = ((span, graphemes.cover(span.start, span.end)) for span in spans)
    return [span._replace(start=start, end=end) for span, (start, end) in covered]


def settle(
    text: str, spans: Iterable[Span], first: Container[str], graphemes: Graphemes
) -> list[Span]:
    """Settle overlaps, and set ends again where that cut a span.

    Args:
        text: the text.
        spans: of whole characters, in any order.
        first: labels that win over others.
        graphemes: of the text.
    """
    settled = []
    for span in resolve(spans, first):
        start, end = boundaries.trim(text, span.start, span.end, span.label)
        if start < end:
            start, end = graphemes.cover(start, end)
            settled.append(span._replace(start=start, end=end))
    return settled


def before(spans: Sequence[Span], place: int) -> int:
    """Return the last place up to `place` that no span, and none that overlaps one, lies across."""
    start, end = place, -1
    for span in sorted(spans):
        if span.start >= place:
            break
        if span.start >= end:
            start = span.start
        end = max(end, span.end)
    return start if end > place else place
