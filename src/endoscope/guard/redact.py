"""Taking values out of a text."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple
from unicodedata import normalize

from endoscope.guard.policy import Policy
from endoscope.guard.spans import Span, resolve

_HASH_DIGITS = 12  # 48 bits: one collision is expected among some 17 million values


class Redaction(NamedTuple):
    """A text without its values, and where they were.

    Attributes:
        redacted: the text with a replacement for each value.
        spans: what was found, in order, in code points of the original text.
    """

    redacted: str
    spans: list[Span]

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it, scores with four digits."""
        spans = [span._replace(score=round(span.score, 4))._asdict() for span in self.spans]
        return {"redacted": self.redacted, "spans": spans}

    def __repr__(self) -> str:
        counts = Counter(span.label for span in self.spans)
        found = ", ".join(f"{label} {n}" for label, n in sorted(counts.items())) or "nothing found"
        return f"Redaction({self.redacted!r}: {found})"


class Replacer:
    """Gives values their replacements, the same to the same value for as long as it lives.

    Values are the same if they differ only in case, width and white space.

    Args:
        policy: says how each label is replaced.

    Raises:
        InputError: the policy replaces by keyed hash and its key cannot be read.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._key = policy.key.read(policy.folder) if policy.key else b""
        self._numbers: dict[str, dict[str, int]] = {}

    @property
    def identity(self) -> str:
        """What tells one key from another without telling the key; empty without a key."""
        return hmac.new(self._key, b"identity", "sha256").hexdigest() if self._key else ""

    def __call__(self, value: str, label: str) -> str:
        """Return what stands in place of a value."""
        match self.policy.replaced(label):
            case "tag":
                return f"[{label}]"
            case "pseudonym":
                # A digest in the table, not the value: memory holds no list of personal data.
                numbers = self._numbers.setdefault(label, {})
                digest = hashlib.sha256(_canonical(value)).hexdigest()
                return f"[{label}_{numbers.setdefault(digest, len(numbers) + 1)}]"
            case "hash":
                message = label.encode() + b"\0" + _canonical(value)
                digest = hmac.new(self._key, message, "sha256").hexdigest()
                return f"[{label}:{digest[:_HASH_DIGITS]}]"

    def __repr__(self) -> str:
        return f"Replacer({self.policy.name!r})"


def _canonical(value: str) -> bytes:
    """What values that are the same have in common (in UTF-8, lone surrogates included)."""
    plain = " ".join(normalize("NFKC", value).casefold().split())
    return plain.encode("utf-8", "surrogatepass")


def redact(text: str, spans: Iterable[Span], policy: Policy | Replacer) -> Redaction:
    """Replace the values in a text.

    Args:
        text: the text.
        spans: what is in it, in any order; overlaps are settled by `resolve`.
        policy: which labels to replace and how. To keep pseudonyms over several texts, give the
            same `Replacer` each time.

    Returns:
        The redacted text: without the characters of redacted spans, all others untouched.

    Raises:
        ValueError: a span lies outside the text, or the policy has no rule for its label.
    """
    replacer = policy if isinstance(policy, Replacer) else Replacer(policy)
    rules = replacer.policy
    given = list(spans)
    for span in given:
        if not 0 <= span.start < span.end <= len(text) or span.label not in rules.labels:
            raise ValueError(f"{span} is not a span of this text under policy {rules.name!r}")
    settled = resolve(given, rules.redacted)
    parts: list[str] = []
    done = 0
    for span in settled:
        if span.label in rules.redacted:
            parts += text[done : span.start], replacer(text[span.start : span.end], span.label)
            done = span.end
    parts.append(text[done:])
    return Redaction("".join(parts), settled)
