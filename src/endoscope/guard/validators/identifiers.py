"""Cards, bank accounts and numbers that a state gives to a person (label ID)."""

from collections.abc import Callable

import regex
from stdnum import ean, iban, luhn, verhoeff
from stdnum.au import tfn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs, utr
from stdnum.it import codicefiscale
from stdnum.jp import in_
from stdnum.kr import rrn
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import itin, ssn

from endoscope.guard.unfinished import unfinished
from endoscope.guard.validators.base import Candidate, Pattern, Validator

# First digits and lengths of the card schemes (ISO/IEC 7812 issuer identification numbers). The
# Luhn check alone passes one number in ten, order numbers and bar codes included.
_SCHEMES: tuple[tuple[regex.Pattern[str], frozenset[int]], ...] = tuple(
    (regex.compile(first), frozenset(lengths))
    for first, lengths in (
        (r"4", (13, 16, 19)),  # Visa
        (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
        (r"3[47]", (15,)),  # American Express
        (r"6011|64[4-9]|65", (16, 19)),  # Discover
        (r"35(?:2[89]|[3-8])", (16, 17, 18, 19)),  # JCB
        (r"2131|1800", (15,)),  # JCB, older
        (r"30[0-5]|309|36|3[89]", (14, 16, 19)),  # Diners Club
        (r"62|81", (16, 17, 18, 19)),  # UnionPay
        (r"50|5[6-8]|63|67", tuple(range(12, 20))),  # Maestro
    )
)


def is_card(number: str) -> bool:
    """Whether digits, with or without separators, are a payment card's."""
    digits = "".join(filter(str.isdigit, number))
    if len(digits) == 13 and ean.is_valid(digits):  # JAN codes start with 45 and 49
        return False
    known = any(first.match(digits) and len(digits) in lengths for first, lengths in _SCHEMES)
    return known and is_luhn(digits)


def is_luhn(number: str) -> bool:
    """Whether digits, with or without separators, end in their Luhn check digit."""
    digits = "".join(filter(str.isdigit, number))
    return len(set(digits)) > 1 and luhn.is_valid(digits)


class Iban:
    """International bank account numbers, in one piece or in groups of four."""

    name, label = "IBAN", "ID"
    form = regex.compile(
        r"(?<![A-Za-z0-9])(?:[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}|[a-z]{2}\d{2}[a-z0-9]{11,30})"
        r"(?![A-Za-z0-9])"
    )
    unfinished = unfinished(form)
    overlap = 0

    def judge(self, text: str, match: "regex.Match[str]") -> Candidate | None:
        """Return the candidate, or the longest beginning of it that is valid.

        In `GB33 BUKB 2020 1555 5555 55 EUR` a word follows that looks like one more group.
        """
        start, end = match.span()
        while end - start >= 15:
            if iban.is_valid(text[start:end]):
                return Candidate(start, end)
            end = text.rfind(" ", start, end)
        return None


def _alone(pattern: str) -> "regex.Pattern[str]":
    """Compile a pattern that must not continue a word, a number or a chain of hyphens."""
    return regex.compile(
        rf"(?<![A-Za-z0-9])(?<![0-9A-Za-z][-.])(?:{pattern})(?![-.]?[A-Za-z0-9])", regex.ASCII
    )


def _identifier(
    name: str, pattern: str, check: Callable[[str], bool], near: str | None = None
) -> Pattern:
    context = regex.compile(near, regex.IGNORECASE) if near else None
    return Pattern(name, "ID", _alone(pattern), check, context)


def _is_aadhaar(number: str) -> bool:
    return verhoeff.is_valid(number.replace(" ", "").replace("-", ""))


def _is_ric(number: str) -> bool:
    try:
        return bool(ric.is_valid(number))
    except KeyError:  # a region that does not exist
        return False


def _always(number: str) -> bool:
    return True


# A number whose form or check digit is shared with ordinary numbers is sure only behind a word.
_MY_NUMBER = r"マイナンバー|個人番号|my\s?number|individual number"
_DRIVER = r"licen[sc]e (?:number|no\b|num\b|#)|(?:driver['’]?s?|driving) licen[sc]e"
IDENTIFIERS: tuple[Validator, ...] = (
    _identifier("card in one piece", r"\d{12,19}", is_card),
    _identifier(
        "card in groups",
        r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}|\d{4}([ -])\d{4}\3\d{5}",
        is_card,
    ),
    _identifier("card of an unknown scheme", r"\d{12,19}", is_luhn, r"\b(?:card|cc)\b|カード"),
    Iban(),
    _identifier("US social security number", r"\d{3}-\d{2}-\d{4}", ssn.is_valid),
    _identifier(
        "US social security number in one piece",
        r"\d{9}|\d{3} \d{2} \d{4}",
        ssn.is_valid,
        r"\bSSN\b|social security",
    ),
    _identifier("US individual taxpayer number", r"9\d{2}-\d{2}-\d{4}", itin.is_valid),
    _identifier(
        "Japanese My Number in groups", r"\d{4}([ -])\d{4}\1\d{4}", in_.is_valid, _MY_NUMBER
    ),
    _identifier("Japanese My Number", r"\d{12}", in_.is_valid, _MY_NUMBER),
    _identifier("Japanese driving licence", r"\d{12}", _always, r"運転免許|免許証"),
    _identifier("Japanese bank account", r"\d{7}", _always, r"口座(?:番号)?|普通(?:預金)?|当座"),
    _identifier(
        "passport",
        r"[A-Z]{1,2}\d{6,8}|\d{9}",
        _always,
        r"passport(?: (?:number|no\b|num\b|#))?|旅券|パスポート",
    ),
    _identifier("driving licence", r"[A-Z]{0,2}\d{5,14}", _always, _DRIVER),
    _identifier(
        "UK national insurance number",
        r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
        r"( ?)\d{2}\1\d{2}\1\d{2}\1[A-D]",
        _always,
    ),
    _identifier("UK NHS number", r"\d{3}([ -]?)\d{3}\1\d{4}", nhs.is_valid, r"\bNHS\b"),
    _identifier(
        "UK taxpayer reference", r"\d{10}|\d{5} \d{5}", utr.is_valid, r"\bUTR\b|taxpayer ref"
    ),
    _identifier("French NIR", r"[12] ?\d{2} ?\d{2} ?\d[0-9AB] ?\d{3} ?\d{3} ?\d{2}", nir.is_valid),
    _identifier("Spanish DNI", r"\d{8}-?[A-Z]", dni.is_valid),
    _identifier("Spanish NIE", r"[XYZ]-?\d{7}-?[A-Z]", nie.is_valid),
    _identifier(
        "Italian tax code", r"[A-Z]{6}\w{2}[A-Z]\w{2}[A-Z]\w{3}[A-Z]", codicefiscale.is_valid
    ),
    _identifier("Finnish identity code", r"\d{6}[-+ABCDEFYXWVU]\d{3}[0-9A-Y]", hetu.is_valid),
    _identifier("Swedish identity number", r"(?:\d{2})?\d{6}[-+]\d{4}", personnummer.is_valid),
    _identifier("Korean resident number", r"\d{6}-\d{7}", rrn.is_valid),
    _identifier("Chinese identity number", r"\d{17}[0-9X]", _is_ric),
    _identifier("Brazilian CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}", cpf.is_valid),
    _identifier("Indian Aadhaar", r"\d{4}([ -]?)\d{4}\1\d{4}", _is_aadhaar, r"aadhaar|\bUID\b"),
    _identifier("Polish PESEL", r"\d{11}", pesel.is_valid, r"pesel"),
    _identifier("Dutch BSN", r"\d{9}", bsn.is_valid, r"\bBSN\b|burgerservice"),
    _identifier("German tax number", r"\d{11}", idnr.is_valid, r"steuer|\btax id|\bIdNr"),
    _identifier(
        "Canadian SIN", r"\d{3}([ -]?)\d{3}\1\d{3}", sin.is_valid, r"\bSIN\b|social insurance"
    ),
    _identifier(
        "Australian tax file number", r"\d{3} ?\d{3} ?\d{2,3}", tfn.is_valid, r"\bTFN\b|tax file"
    ),
)
