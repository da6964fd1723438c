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
    r"|バージョン|ファームウェア|リリース|ビルド|第|節)[.:：=]?\s*$",
    regex.IGNORECASE,
)
NETWORK: tuple[Validator, ...] = (
    Pattern(
        "IPv4 address",
        "IP",
        regex.compile(r"(?<![A-Za-z0-9_.\-])\d{1,3}(?:\.\d{1,3}){3}(?![A-Za-z0-9_])(?!\.\d|-\d)"),
        is_address_v4,
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
