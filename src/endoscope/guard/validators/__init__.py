"""Values that can be checked: what has a check digit, a grammar or a published form.

A probe reads context, a validator reads form. What is proof enough is found alone; the rest
confirms and completes what the probe has touched.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence

from endoscope.guard.spans import Span
from endoscope.guard.validators.base import Candidate, Pattern, Validator
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
    of_label: dict[str, list[Span]] = {}
    for span in sorted(touched):
        of_label.setdefault(span.label, []).append(span)
    spans: list[Span] = []
    for validator in validators:
        if (label := validator.label) not in labels:
            continue
        own = of_label.get(label, [])
        for start, end, sure in validator.find(normal):
            if sure:
                spans.append(Span(start, end, label, 1.0))
                continue
            index = bisect_right(own, start, key=lambda span: span.end)
            if index < len(own) and own[index].start < end:
                spans.append(Span(start, end, label, own[index].score))
    return spans


__all__ = ["FOUND_ALONE", "VALIDATORS", "Candidate", "Pattern", "Validator", "plain", "validated"]
