"""Where sentences stand in a text."""

import re

_ENDS = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\s*\n\s*")


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the characters of each sentence, `[start, end)`, in order; none is blank."""
    bounds = [0, *(place for end in _ENDS.finditer(text) for place in end.span()), len(text)]
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return [(start, end) for start, end in pairs if text[start:end].strip()]
