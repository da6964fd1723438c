"""IP addresses."""

import ipaddress

import regex

from endoscope.guard.validators.base import Pattern, Validator


def is_address_v4(text: str) -> bool:
    """Whether it is an IPv4 address that can belong to somebody.

    This machine (127.*), "any" (0.*) and masks (255.*) belong to nobody.
    """
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return not address.is_loopback and address.packed[0] not in (0, 255)


def is_address_v6(text: str) -> bool:
    """Whether it is an IPv6 address with a digit: `a::b` is one too, but likelier to be C++."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified) and any(map(str.isdigit, text))


_VERSION = regex.compile(
    r"(?:\b(?:v|ver|version|versions|release|build|firmware|driver|sdk|patch|section|clause|chapter)"
    r"(?:\s?(?:numbers?|no))?|(?:バージョン|ファームウェア|リリース|ビルド)(?:番号)?|第|節)"
    r"\s?(?:[.:：=]|\bis\b|は|が)?\s*$",
    regex.IGNORECASE,
)
_RELEASE = (
    r"\b(?:v|ver|versions?|released?|builds?|built|upgraded?|updated?|firmware|OID)\b"
    r"|バージョン|ファームウェア|リリース|ビルド|アップデート"
)
_MACHINE = (
    r"\bIPv?4?\b|\baddress|\bhosts?\b|\bserver|\bclient|\bDNS\b|\bping\b|\bssh\b|://"
    r"|アドレス|ホスト|サーバ|接続"
)
# Sure if no word of releases is near, or one of machines is.
_NO_RELEASE = regex.compile(rf"\A(?!(?s:.*)(?:{_RELEASE}))|{_MACHINE}", regex.IGNORECASE)
_BEFORE, _AFTER = r"(?<![A-Za-z0-9_.\-])", r"(?![A-Za-z0-9_])(?!\.\d|-\d)"
_SMALL = r"\d(?:\.\d){3}"
NETWORK: tuple[Validator, ...] = (
    Pattern(
        "IPv4 address",
        "IP",
        regex.compile(rf"{_BEFORE}(?!{_SMALL}{_AFTER})\d{{1,3}}(?:\.\d{{1,3}}){{3}}{_AFTER}"),
        is_address_v4,
        unless=_VERSION,
    ),
    # Few addresses have four single digits, and most version numbers do: a word may be further off.
    Pattern(
        "IPv4 address of single digits",
        "IP",
        regex.compile(rf"{_BEFORE}{_SMALL}{_AFTER}"),
        is_address_v4,
        near=_NO_RELEASE,
        unless=_VERSION,
    ),
    Pattern(
        "IPv6 address",
        "IP",
        regex.compile(
            r"(?<![A-Za-z0-9_:.])(?=[0-9A-Fa-f:]{0,39}:)[0-9A-Fa-f:.]{3,45}(?<!\.)(?![A-Za-z0-9_:])"
        ),
        is_address_v6,
    ),
)
