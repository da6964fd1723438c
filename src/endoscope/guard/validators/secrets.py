"""Keys, tokens and passwords (label SECRET)."""

import base64
import binascii
import json
import math
from collections import Counter

import regex

from endoscope.guard.validators.base import Pattern, Validator

# The published forms of the keys that providers give out.
_KEYS = (
    ("AWS access key", r"(?:AKIA|ASIA|AIDA|AROA)[A-Z2-7]{16}"),
    ("GitHub token", r"gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"),
    ("GitLab token", r"glpat-[A-Za-z0-9_\-]{20,64}"),
    ("Slack token", r"xox[abeoprs]-[A-Za-z0-9\-]{10,250}"),
    ("Stripe key", r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,250}"),
    ("Google API key", r"AIza[A-Za-z0-9_\-]{35}"),
    ("OpenAI or Anthropic key", r"sk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_\-]{20,250}"),
    ("Hugging Face token", r"hf_[A-Za-z0-9]{30,64}"),
    ("npm token", r"npm_[A-Za-z0-9]{36}"),
    ("SendGrid key", r"SG\.[A-Za-z0-9_\-]{16,64}\.[A-Za-z0-9_\-]{16,64}"),
)


# Up to the end of its Base64 if the END line is missing; five hyphens end a body, so that work on
# many keys in one line stays linear. U+FFFD stands for a byte that could not be read.
KEY_BEGIN = r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
KEY_BODY = r"(?:\s*+(?:[A-Za-z0-9+/=:,]|" + "\ufffd" + r"|-(?!----)|\\n|\\r))*+"
_KEY_END = r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_PEM = rf"{KEY_BEGIN}{KEY_BODY}(?:\s*+{_KEY_END})?"


def is_jwt(token: str) -> bool:
    """Whether the first part of a token is a JOSE header (RFC 7515)."""
    head = token.split(".", 1)[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


_PLACEHOLDER = regex.compile(
    r"[<\[{$%(].*|.*[>\]}%)]|[*•●xX.\-_]+|(?:your|my|the|some|example|changeme|redacted|none|null|true"
    r"|false|required|optional|undefined|string|os\.|process\.|env\.|config\.).*",
    regex.IGNORECASE,
)


def is_password(value: str) -> bool:
    """Whether an assigned value is a secret rather than a word, a type or a placeholder.

    It mixes letters with digits or signs, and its characters are varied enough: 2 bits each at
    least, by its own frequencies.
    """
    if len(value) < 6 or _PLACEHOLDER.fullmatch(value):
        return False
    kinds = {
        "letter" if c.isalpha() else "digit" if c.isdigit() else "sign" for c in value if c != "_"
    }
    counts = Counter(value)
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return len(kinds) > 1 and not value.replace("-", "").isalpha() and bits >= 2.0


# An empty field may be followed by the label of the next one.
_NO_LABEL = r"(?![\p{L}_\-]{1,40}:(?:\s|$))(?!(?<=\n[ \t]?)[\p{L}_\-]{1,40}:)"
_VALUE = _NO_LABEL + r"(?P<value>[^\s\"'`「」『』<>,;、。]{4,200})"
_TO = r"[\"']?\s{0,3}(?:(?::=|=>|[:=：]|は|\bis\b)\s{0,3})[\"'`「『]?"
_ASSIGNED = (
    r"(?:pass(?:word|wd|phrase|code)|\bpwd|api[_\- ]?key|secret(?:[_\- ]?(?:access[_\- ]?)?key)?"
    r"|(?:access|auth|api|bearer|refresh)[_\- ]?token|client[_\- ]?secret|private[_\- ]?key"
    r"|パスワード|合言葉|APIキー|シークレット(?:キー)?|アクセストークン)"
)

SECRETS: tuple[Validator, ...] = (
    *(
        Pattern(name, "SECRET", regex.compile(rf"(?<![A-Za-z0-9_])(?:{form})(?![A-Za-z0-9_])"))
        for name, form in _KEYS
    ),
    Pattern("private key", "SECRET", regex.compile(_PEM)),
    Pattern(
        "JSON web token",
        "SECRET",
        regex.compile(
            r"(?<![A-Za-z0-9_\-.])eyJ[A-Za-z0-9_\-]{8,4096}+\.[A-Za-z0-9_\-]{2,16384}+"
            r"(?:\.[A-Za-z0-9_\-]{0,4096}+)?"
        ),
        is_jwt,
    ),
    Pattern(
        "assigned secret",
        "SECRET",
        regex.compile(rf"(?i:{_ASSIGNED}){_TO}{_VALUE}"),
        lambda value: is_password(value.rstrip(".")),
    ),
    Pattern(
        "PIN",
        "SECRET",
        regex.compile(
            rf"(?:暗証番号|(?i:\bPIN(?: code| number)?)){_TO}(?P<value>[0-9]{{4,8}})(?![0-9])"
        ),
    ),
    Pattern(
        "password in an address",
        "SECRET",
        regex.compile(r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s/:@]{0,64}:(?P<value>[^\s/@]{3,128})@"),
    ),
)
