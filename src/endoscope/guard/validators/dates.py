"""Dates: never proof of a birthday, but a birthday that the probe touched is a whole date."""

import regex

from endoscope.guard.validators.base import Pattern, Validator

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?:1[89]|20)\d{2}"
_ERA = r"(?:明治|大正|昭和|平成|令和|[MTSHR])\s?(?:\d{1,2}|元)"
_FORMS = (
    rf"{_YEAR}([-/.]) ?\d{{1,2}}\1 ?\d{{1,2}}",
    rf"\d{{1,2}}([-/.])\d{{1,2}}\1(?:{_YEAR}|\d{{2}})",
    rf"(?:{_YEAR}|{_ERA})\s?年\s?\d{{1,2}}\s?月\s?\d{{1,2}}\s?日",
    rf"{_MONTH} {_DAY},? {_YEAR}",
    rf"{_DAY}(?: of)?[ \-]{_MONTH},?[ \-]{_YEAR}",
)
DATES: tuple[Validator, ...] = tuple(
    Pattern(
        "date",
        "DATE_OF_BIRTH",
        regex.compile(rf"(?<![A-Za-z0-9])(?:{form})(?![A-Za-z0-9])", regex.IGNORECASE),
        sure=False,
    )
    for form in _FORMS
)
