"""Where text that is still to come could change what a pattern finds.

A pattern is made to fail by a character after it that no text has, so the engine tries every way
through it. (One of two characters: a single one would let it skip places that are too far before
the end, lookaheads and all.) A way that comes to the end of the text and wants to go on is a
*partial match*, and the leftmost of them begins where the future begins: what starts before it is
decided.
"""

import regex

# Noncharacters (Unicode 23.7): alike to every pattern.
_NEVER, _INSTEAD = "[\ufdd0\ufdd2]", "\ufdd1"


def unfinished(pattern: "regex.Pattern[str]") -> "regex.Pattern[str]":
    """Return what `unfinished_from` searches with, for a pattern."""
    return regex.compile(f"(?:{pattern.pattern}){_NEVER}", pattern.flags)


def searchable(text: str) -> str:
    """Return a text without the characters that no text may have; its length stays."""
    return text.replace(_NEVER[1], _INSTEAD).replace(_NEVER[2], _INSTEAD)


def unfinished_from(
    pattern: "regex.Pattern[str]", text: str, start: int, end: int | None = None
) -> int:
    """Return the first place from which more text could make, change or undo a match.

    Args:
        pattern: of `unfinished`.
        text: of `searchable`.
        start: where to begin.
        end: end of what is known of the text; its length if left out.
    """
    known = len(text) if end is None else end
    found = pattern.search(text, start, known, partial=True)
    return known if found is None else int(found.start())
