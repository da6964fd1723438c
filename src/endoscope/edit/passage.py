"""Texts of which some parts count."""

from typing import NamedTuple


class Passage(NamedTuple):
    """A text of which some parts count.

    Attributes:
        text: as the model reads it, template and all.
        spans: characters `[start, end)` that count.
    """

    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def opening(self) -> "Passage":
        """The text up to where it first counts, and one character of that."""
        start = self.spans[0][0]
        return Passage(self.text[: start + 1], ((start, start + 1),))

    @classmethod
    def of_answer(cls, before: str, answer: str) -> "Passage":
        """Return an answer of which all counts, after what comes before it."""
        return cls(before + answer, ((len(before), len(before) + len(answer)),))
