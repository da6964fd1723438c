"""Values that can be checked: what has a check digit, a grammar or a published form.

A probe reads context, a validator reads form. What is proof enough is found alone; the rest
confirms and completes what the probe has touched.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate

from endoscope.guard.spans import Span
from endoscope.guard.validators.base import Candidate, Pattern, Validator, find
from endoscope.guard.validators.contact import Email, Phone
from endoscope.guard.validators.dates import DATES
from endoscope.guard.validators.identifiers import IDENTIFIERS
from endoscope.guard.validators.network import NETWORK
from endoscope.guard.validators.places import PLACES
from endoscope.guard.validators.plain import plain
from endoscope.guard.validators.secrets import SECRETS

VALIDATORS: tuple[Validator, ...] = (
    Email(),
    Phone(),
    *NETWORK,
    *IDENTIFIERS,
    *SECRETS,
    *PLACES,
    *DATES,
)

FOUND_ALONE = frozenset({"EMAIL", "IP"})
"""Labels whose every value has a form that is proof enough, so that no probe is needed."""


def validated(
    text: str,
    touched: Sequence[Span],
    labels: Collection[str],
    validators: Sequence[Validator] = VALIDATORS,
) -> list[Span]:
    """Return the values in a text that validators vouch for.

    Args:
        text: the text as it is; offsets are of its code points.
        touched: the probe's spans. A candidate that is not sure counts only if it shares a
            character with one of its label.
        labels: the labels that are wanted.
        validators: the kinds to look for.

    Returns:
        Spans, in no order, which may overlap. A sure one has score 1, another that of the span
        that touched it.
    """
    normal = plain(text)
    confirmed = {label: Touched(s for s in touched if s.label == label) for label in labels}
    spans: list[Span] = []
    for validator in validators:
        if validator.label in confirmed:
            for candidate in find(validator, normal):
                spans += confirmed[validator.label].confirm(candidate, validator.label)
    return spans


class Touched:
    """The probe's spans of one label, which confirm candidates that are not sure.

    Args:
        spans: in any order.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = sorted(spans)
        self._ends = list(accumulate((span.end for span in self._spans), max))

    def confirm(self, candidate: Candidate, label: str) -> list[Span]:
        """Return a candidate as a span if it is sure, or shares a character with one of these."""
        start, end, sure = candidate
        if sure:
            return [Span(start, end, label, 1.0)]
        index = bisect_right(self._ends, start)
        if index < len(self._spans) and self._spans[index].start < end:
            return [Span(start, end, label, self._spans[index].score)]
        return []


__all__ = [
    "FOUND_ALONE",
    "VALIDATORS",
    "Candidate",
    "Pattern",
    "Touched",
    "Validator",
    "find",
    "plain",
    "validated",
]
