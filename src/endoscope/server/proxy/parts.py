"""Texts of a request as what can be scanned and replaced: plain, or the strings inside JSON."""

import json
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import NamedTuple, Protocol

import regex

_TOKEN = regex.compile(
    r'"(?:[^"\\]|\\.)*+"(?P<key>\s*:)?|-?[0-9]++(?:\.[0-9]++)?(?:[eE][+\-]?[0-9]++)?'
)
# From the first of several backslashes on, each looked at once: there can be millions.
_ESCAPES = regex.compile(r"(?<!\\)(?:\\++u[0-9a-fA-F]{4})+")
_DEEPEST = 8
_LEAST_NUMBER, _MOST_NUMBER = 1000, Decimal(10) ** 40  # what may be somebody's number


class Leaf:
    """A text that goes out.

    Attributes:
        text: what it says.
        sent: what it is to say when it goes out.
        place: where it stands in the request, for errors.
        fixed: it cannot be replaced; if something is found in it, the request is refused.
        after: what a reader sees between it and the next.
    """

    __slots__ = ("_written", "after", "fixed", "place", "sent", "text")

    def __init__(
        self,
        text: str,
        place: str,
        *,
        written: str | None = None,
        fixed: bool = False,
        after: str = "\n",
    ) -> None:
        self.text = self.sent = text
        self._written = text if written is None else written
        self.place = place
        self.fixed = fixed
        self.after = after

    def leaves(self) -> Iterator["Leaf"]:
        """Yield itself."""
        yield self

    def render(self) -> str:
        """Return it as it goes out: as it was written, if nothing is replaced."""
        return self._written if self.sent == self.text else self.sent

    def __repr__(self) -> str:
        return f"Leaf({self.place}, {len(self.text)} characters)"


class Part(Protocol):
    """A text that may have several leaves."""

    def leaves(self) -> Iterator[Leaf]:
        """Yield its leaves in order."""
        ...

    def render(self) -> str:
        """Return it as it goes out."""
        ...


class _Token(NamedTuple):
    start: int
    end: int
    part: Part


class JsonPart:
    """A text that is JSON: its keys, its strings and its long whole numbers are leaves.

    Strings that are JSON in turn are read as such. What is not replaced goes out character for
    character; a number that is replaced becomes a string.

    Args:
        text: valid JSON.
        place: where it stands in the request.
        plain: strings that need no reading, such as the words of JSON Schema.
        depth: how many JSON texts it stands in.
    """

    def __init__(self, text: str, place: str, plain: Collection[str] = (), depth: int = 0) -> None:
        self._text = text
        tokens = (_token(match, place, plain, depth) for match in _TOKEN.finditer(text))
        self._tokens = [token for token in tokens if token is not None]

    def leaves(self) -> Iterator[Leaf]:
        """Yield its leaves in order."""
        for token in self._tokens:
            yield from token.part.leaves()

    def render(self) -> str:
        """Return the JSON as it goes out."""
        pieces: list[str] = []
        done = 0
        for start, end, part in self._tokens:
            if any(leaf.sent != leaf.text for leaf in part.leaves()):
                pieces += self._text[done:start], json.dumps(part.render(), ensure_ascii=False)
                done = end
        return "".join([*pieces, self._text[done:]])

    def __repr__(self) -> str:
        return f"JsonPart({len(self._tokens)} tokens)"


def _token(
    match: "regex.Match[str]", place: str, plain: Collection[str], depth: int
) -> _Token | None:
    start, end = match.span()
    if match[0][0] != '"':
        digits = _whole(match[0])
        return _Token(start, end, Leaf(digits, place)) if digits else None
    end = match.start("key") if match["key"] else end
    value = json.loads(match[0][: end - start])
    if not value or value in plain:
        return None
    if match["key"]:
        return _Token(start, end, Leaf(value, place, after=": "))
    return _Token(start, end, read(value, place, plain, depth + 1))


def _whole(literal: str) -> str | None:
    """The digits of a number that is whole and long enough to be somebody's; else None."""
    try:
        number = Decimal(literal)
        possible = _LEAST_NUMBER <= abs(number) < _MOST_NUMBER
        return str(int(number)) if possible and number == int(number) else None
    except ArithmeticError:  # an exponent beyond all numbers
        return None


def read(text: str, place: str, plain: Collection[str] = (), depth: int = 0) -> Part:
    r"""Return a text as parts: if it is JSON the strings in it, else itself.

    JSON is read because its escapes hide what stands in it, and because what is put in place of a
    value must leave it valid. Where a text only has such escapes (`\u7530`, JSON in the midst of
    prose), they are read as the letters they mean; they go out so if anything is replaced there.
    """
    if depth <= _DEEPEST and text.lstrip()[:1] in ("{", "[", '"'):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return JsonPart(text, place, plain, depth)
    return Leaf(_ESCAPES.sub(_letters, text), place, written=text)


def _letters(match: "regex.Match[str]") -> str:
    """What escapes mean, if it is letters; ASCII has no need of them, so there they are meant."""
    codes = regex.sub(r"\\+u", " ", match[0]).split()
    units = b"".join(int(code, 16).to_bytes(2, "big") for code in codes)
    text = units.decode("utf-16-be", "replace")
    return text if all(char.isalnum() and not char.isascii() for char in text) else match[0]
