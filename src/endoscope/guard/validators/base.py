"""What a validator is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, Protocol

import regex

from endoscope.guard.unfinished import unfinished


class Candidate(NamedTuple):
    """A value that has the form and passes the checks of its kind.

    Attributes:
        start: first character, in code points.
        end: end, exclusive.
        sure: True if form and checks are proof enough to find it alone; False if ordinary numbers
            pass them too, so that it only confirms and completes what a probe has touched.
    """

    start: int
    end: int
    sure: bool = True


class Validator(Protocol):
    """Finds values of one kind by their form and checks them.

    Attributes:
        name: of the kind of value, for people.
        label: of the spans it gives.
        form: what is looked for; the search goes on where a match ends. Every repetition in it is
            bounded or cannot overlap what follows it, for lines of a megabyte are met in practice.
        unfinished: a value that is not yet whole (see `guard.unfinished`).
        overlap: how many characters of a value may lie in the match before its own.
    """

    name: str
    label: str

    @property
    def form(self) -> "regex.Pattern[str]": ...  # noqa: D102
    @property
    def unfinished(self) -> "regex.Pattern[str]": ...  # noqa: D102
    @property
    def overlap(self) -> int: ...  # noqa: D102

    def judge(self, text: str, match: "regex.Match[str]") -> Candidate | None:
        """Return the value in a match of the form, or None; it may look back in the text."""
        ...


def find(validator: Validator, text: str) -> Iterator[Candidate]:
    """Yield the candidates in a text that has been through `plain`, in order."""
    for match in validator.form.finditer(text):
        if candidate := validator.judge(text, match):
            yield candidate


@dataclass
class Pattern:
    """A validator made of a pattern and a check.

    Args:
        name: of the kind of value.
        label: of the spans.
        pattern: where a value may be; its group `value` if it has one, else the whole match.
        check: given the match, whether it is one; None accepts all.
        near: words of which one must stand within `REACH` characters before a value to be sure.
        unless: what rules a value out if it stands right before it.
        sure: False if the form never is proof enough.
    """

    name: str
    label: str
    pattern: "regex.Pattern[str]"
    check: Callable[[str], bool] | None = None
    near: "regex.Pattern[str] | None" = None
    unless: "regex.Pattern[str] | None" = None
    sure: bool = True

    REACH: ClassVar[int] = 40
    overlap: ClassVar[int] = 0

    @property
    def form(self) -> "regex.Pattern[str]":
        """What is looked for."""
        return self.pattern

    @cached_property
    def unfinished(self) -> "regex.Pattern[str]":
        """A value that is not yet whole."""
        return unfinished(self.pattern)

    def judge(self, text: str, match: "regex.Match[str]") -> Candidate | None:
        """Return the value if it passes."""
        start, end = match.span("value" if "value" in self.pattern.groupindex else 0)
        if self.check and not self.check(text[start:end]):
            return None
        before = text[max(0, start - self.REACH) : start]
        if self.unless and self.unless.search(before):
            return None
        near = self.near is None or self.near.search(before) is not None
        return Candidate(start, end, self.sure and near)
