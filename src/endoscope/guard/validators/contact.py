"""E-mail addresses and telephone numbers."""

from collections.abc import Callable

import phonenumbers
import regex
from email_validator import EmailNotValidError, validate_email

from endoscope.guard.unfinished import unfinished
from endoscope.guard.validators.base import Candidate

# At most as long as RFC 5321 has it.
_LOCAL = r"[\p{Latin}\p{M}0-9!#$%&'*+/=?^_`{|}~.\-]{1,64}"
_DOMAIN = r"(?:[\p{Latin}0-9](?:[\p{Latin}0-9\-]{0,62})\.){1,8}\p{Latin}{2,63}"


class Email:
    """E-mail addresses, checked by email-validator without asking the network."""

    name, label = "e-mail address", "EMAIL"
    form = regex.compile(rf"@{_DOMAIN}")
    unfinished = unfinished(regex.compile(rf"{_LOCAL}@{_DOMAIN}"))
    overlap = 64  # in x@y.com@z.com each at sign has a domain and what stands before it
    _local = regex.compile(rf"(?r){_LOCAL}")

    def judge(self, text: str, match: "regex.Match[str]") -> Candidate | None:
        """Look around an at sign: linear in the text, whatever stands between them."""
        at, end = match.span()
        local = self._local.match(text, 0, at)
        start = self._start(text, local.start(), at) if local else at
        valid = start < at and self._valid(text[start:at], text[at + 1 : end])
        return Candidate(start, end) if valid else None

    @staticmethod
    def _start(text: str, start: int, at: int) -> int:
        """Leave out what stands before an address: quotes, `mailto:`, `email=`, `//user:`."""
        cut = max(text.rfind(sign, start, at) for sign in "=/'`|{}")
        start = max(start, cut + 1)
        while start < at and text[start] in ".-!#$%&*?^~":
            start += 1
        return start

    @staticmethod
    def _valid(local: str, domain: str) -> bool:
        if local == "git" or regex.match(r"\d+x\.", domain):  # git@host:path, icon@2x.png
            return False
        try:
            validate_email(f"{local}@{domain}", check_deliverability=False, test_environment=True)
        except EmailNotValidError:
            return False
        return True


_NOT_BEFORE = r"(?<![A-Za-z0-9_@#$€£¥])(?<![0-9][-.:/ ])"  # a comma parts fields
_NOT_AFTER = r"(?![A-Za-z0-9_@])(?![-.:/][0-9])(?! ?[%円€£¥])"
_CANDIDATE = regex.compile(
    rf"{_NOT_BEFORE}(?:\+ ?|\()?[0-9](?:[ \-./()]{{0,2}}[0-9]){{5,16}}+"
    rf"(?P<extension> ?(?:x|ext\.? ?|内線 ?)[0-9]{{1,6}})?{_NOT_AFTER}"
)
_GROUPED = regex.compile(r"[ \-./()]")
_CALL = regex.compile(
    r"(?:\b(?:tel|telephone|phone|mobile|cell|cellphone|fax|call|text|dial|ring|desk|office|whatsapp|reach)\b"
    r"|電話|携帯|ファックス|FAX|連絡先|TEL)"
    r"(?:[^0-9\n]{0,24})$",
    regex.IGNORECASE,
)
_OTHER = regex.compile(  # words that say it is some other number
    r"(?:\b(?:order|invoice|ticket|case|ref(?:erence)?|tracking|item|part|serial|model|version|isbn"
    r"|sku|product|account|acct|card|id|zip|page|room|license|licence|passport|ssn)\b"
    r"|注文|伝票|番号札|型番|品番|商品|製品|管理番号|会員|受付番号|口座|お問い合わせ番号)[^0-9\n]{0,16}$",
    regex.IGNORECASE,
)
_DATE = regex.compile(
    r"(?:19|20)[0-9]{2}([-/. ])[0-9]{1,2}\1[0-9]{1,2}"
    r"|[0-9]{1,2}([-/. ])[0-9]{1,2}\2(?:19|20)?[0-9]{2}"
)
_REACH = 40


class Phone:
    """Telephone numbers, checked by phonenumbers.

    A number is found alone if it has a plus, a country code and a length of that country, or if it
    is valid and written in the national way of Japan (`03-1234-5678`, `09012345678`), North America
    (`(212) 555-0123`) or Britain (`020 7946 0958`), and behind a word such as `call` or `電話` if
    it has the length of a number. Other groups of digits only complete what a probe has touched.
    """

    name, label = "telephone number", "PHONE"

    form = _CANDIDATE
    unfinished = unfinished(_CANDIDATE)
    overlap = 0

    def judge(self, text: str, match: "regex.Match[str]") -> Candidate | None:
        """Return the candidate if it is a number to call."""
        start, end = match.span()
        number = match.group()
        if number.startswith("(") and ")" not in number:
            start, number = start + 1, number[1:]
        before = text[max(0, start - _REACH) : start]
        if _DATE.fullmatch(number):
            return None
        call = _CALL.search(before) is not None
        other = _OTHER.search(before) is not None and not call
        return Candidate(
            start, end, not other and (is_phone(number) or (call and is_possible(number)))
        )


def is_phone(number: str) -> bool:
    """Whether a number exists and is written as people of its country write it."""
    if number.startswith("+"):
        return _called(number, None, phonenumbers.is_possible_number)
    digits = "".join(filter(str.isdigit, number))
    grouped = bool(_GROUPED.search(number))
    if digits.startswith("0"):
        mobile = len(digits) == 11 and digits[:3] in ("070", "080", "090")
        japanese = (grouped or mobile) and len(digits) in (10, 11) and _called(number, "JP")
        british = grouped and len(digits) in (10, 11) and _called(number, "GB")
        return japanese or british
    american = regex.match(r"(?:1[-. ])?\(?\d{3}\)?[-. ] ?\d{3}[-. ]\d{4}(?!\d)", number)
    return bool(american) and _called(number, "US")


def is_possible(number: str) -> bool:
    """Whether a number has a length that can be called somewhere (ITU-T E.164: at most 15)."""
    return 7 <= sum(map(str.isdigit, number)) <= 15


def _called(
    number: str,
    region: str | None,
    check: Callable[[phonenumbers.PhoneNumber], bool] = phonenumbers.is_valid_number,
) -> bool:
    try:
        return check(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
