"""What happens to text on its way: lost capitals, typing errors, careless tokenising.

Each change works on marked text and moves the spans along.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from recipes.pii.document import Marked, Span


def rewrite(marked: Marked, pattern: str, change: Callable[[re.Match[str]], str]) -> Marked:
    """Replaces every match of the pattern; spans keep to the text that they held."""
    pieces: list[str] = []
    moved = list(range(len(marked.text) + 1))  # old offset -> new offset
    at = length = 0
    for found in re.finditer(pattern, marked.text):
        new = change(found)
        for i in range(at, found.start() + 1):
            moved[i] = length + i - at
        pieces += [marked.text[at : found.start()], new]
        start = length + found.start() - at
        for i in range(found.start(), found.end()):
            moved[i] = start + min(i - found.start(), len(new))
        length, at = start + len(new), found.end()
    for i in range(at, len(marked.text) + 1):
        moved[i] = length + i - at
    pieces.append(marked.text[at:])
    return trim(
        Marked("".join(pieces), tuple((moved[s], moved[e], label) for s, e, label in marked.spans))
    )


def trim(marked: Marked) -> Marked:
    """Takes white space at the edges out of spans, and drops spans that hold nothing."""
    spans: list[Span] = []
    for start, end, label in marked.spans:
        inner = marked.text[start:end]
        start += len(inner) - len(inner.lstrip())
        end -= len(inner) - len(inner.rstrip())
        if start < end:
            spans.append((start, end, label))
    return Marked(marked.text, tuple(spans))


def lower(marked: Marked) -> Marked:
    """All in small letters (letters whose small form is longer stay)."""
    return rewrite(marked, r"[^\W\d_a-z]", lambda m: _same(m[0], m[0].lower()))


def upper(marked: Marked) -> Marked:
    """All in capitals (letters whose capital form is longer stay)."""
    return rewrite(marked, r"[^\W\d_A-Z]", lambda m: _same(m[0], m[0].upper()))


def careless(marked: Marked, rng: random.Random) -> Marked:
    """Some capitals lost, some found: `Jane fox`, `the Dog`."""

    def change(found: re.Match[str]) -> str:
        roll, letter = rng.random(), found[0]
        if letter.isupper():
            return _same(letter, letter.lower()) if roll < 0.4 else letter
        return _same(letter, letter.upper()) if roll < 0.04 else letter

    return rewrite(marked, r"\b[^\W\d_]", change)


def _same(old: str, new: str) -> str:
    return new if len(new) == len(old) else old


def spaced_quotes(marked: Marked) -> Marked:
    """`"so" he said` as `" so " he said`, the mark of text joined from tokens."""
    return rewrite(marked, r'"([^"\n]+)"', lambda m: f'" {m[1]} "')


def split_clitics(marked: Marked) -> Marked:
    """`don't`, `it's` as `do n't`, `it' s`: what is left of a tokeniser's cuts."""
    marked = rewrite(marked, r"n't\b", lambda m: " n' t")
    return rewrite(marked, r"'(s|re|ve|ll|d|m|S)\b", lambda m: f"' {m[1]}")


def split_signs(marked: Marked) -> Marked:
    """Blanks inside `12:46`, `3rd`, `a/b`, `<3`, and around emoji."""
    marked = rewrite(marked, r"(?<=\d)(:|rd|th|nd)(?=\W|\d|$)", lambda m: m[0] + " ")
    marked = rewrite(marked, r"(?<=\w)/(?=\w)", lambda m: " / ")
    return rewrite(marked, r"(?<=[😂🔥❤😭😍])(?=[😂🔥❤😭😍])", lambda m: " ")


def typing_errors(marked: Marked, rng: random.Random, rate: float) -> Marked:
    """Letters swapped, dropped or doubled in some words."""

    def change(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() > rate:
            return word
        i = rng.randrange(1, len(word) - 1)
        return rng.choice(
            (
                word[:i] + word[i + 1] + word[i] + word[i + 2 :],
                word[:i] + word[i + 1 :],
                word[:i] + word[i] + word[i:],
                word + word[-1] * rng.randint(1, 3),
            )
        )

    return rewrite(marked, r"\b[A-Za-z]{4,}\b", change)


def stripped(marked: Marked, sign: str) -> Marked:
    """Without a sign, as people leave out apostrophes and full stops."""
    return rewrite(marked, re.escape(sign), lambda m: "")
