"""What a validator is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import regex


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
    """

    name: str
    label: str

    def find(self, text: str) -> Iterable[Candidate]:
        """Yield candidates in order; `text` has been through `plain`."""
        ...


@dataclass
class Pattern:
    """A validator made of a pattern and a check.

    Args:
        name: of the kind of value.
        label: of the spans.
        pattern: where a value may be; its group `value` if it has one, else the whole match. Every
            repetition in it is bounded or cannot overlap what follows it, for lines of a megabyte
            are met in practice.
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

    def find(self, text: str) -> Iterable[Candidate]:
        """Yield the matches that pass."""
        group = "value" if "value" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(text):
            start, end = match.span(group)
            if self.check and not self.check(text[start:end]):
                continue
            before = text[max(0, start - self.REACH) : start]
            if self.unless and self.unless.search(before):
                continue
            near = self.near is None or self.near.search(before) is not None
            yield Candidate(start, end, self.sure and near)
