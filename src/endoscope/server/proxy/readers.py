"""What a field of a request may hold, and how its texts come to be scanned.

A reader takes a value, checks it, and returns what goes out in its place: the value itself where
it cannot hold a text, else an object that knows its text once it is scrubbed. Whatever no reader
knows is refused, so nothing leaves unread.
"""

import hmac
import json
import math
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Any

import regex

from endoscope.server.errors import ApiError
from endoscope.server.proxy.marks import Document
from endoscope.server.proxy.parts import Leaf, Part, read

_IDENTIFIER = regex.compile(r"[A-Za-z0-9_\-]{1,128}")
_FIELD = regex.compile(r"[a-z_]{1,40}")
_MODEL = regex.compile(r"[A-Za-z0-9._:/\-]{1,256}")

Reader = Callable[[Any, str, "Plan"], Any]


class Plan:
    """The documents of a request.

    Attributes:
        documents: what is to be scanned, a message or a tool or another field each.
    """

    def __init__(self, key: bytes) -> None:
        self.documents: list[Document] = []
        self._open: list[Leaf] = []
        self._key = key
        self._calls: dict[str, str] = {}

    def begin(self) -> None:
        """Begin a new document."""
        self._open = []

    def add(self, part: Part) -> Part:
        """Add the leaves of a part to the document."""
        leaves = list(part.leaves())
        if leaves and not self._open:
            self.documents.append(self._open)
        self._open += leaves
        return part

    def call(self, name: str) -> str:
        """Return the name of a tool call within this request."""
        # Nine letters and digits: what the strictest provider takes.
        return self._calls.setdefault(name, f"call{len(self._calls):05d}")

    def alias(self, name: str) -> str:
        """Return what stands for an end user: the same for as long as the proxy runs."""
        digest = hmac.new(self._key, name.encode("utf-8", "surrogatepass"), sha256)
        return f"user-{digest.hexdigest()[:24]}"

    def __repr__(self) -> str:
        return f"Plan({len(self.documents)} documents)"


class _Json:
    """A value of any kind, as the JSON that it was made of."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def render(self) -> Any:
        return json.loads(self._part.render())


def finish(value: Any) -> Any:
    """Return a value with all of its texts as they go out."""
    if isinstance(value, dict):
        return {key: finish(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finish(inner) for inner in value]
    return value.render() if hasattr(value, "render") else value


def refuse(place: str, problem: str, code: str = "invalid_value") -> ApiError:
    """Return the error of a field."""
    return ApiError(400, f"`{place}` {problem}", param=place, code=code)


def number(value: Any, place: str, plan: Plan) -> Any:
    """A number."""
    del plan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refuse(place, "must be a number.")
    return value


def flag(value: Any, place: str, plan: Plan) -> Any:
    """True or false."""
    del plan
    if not isinstance(value, bool):
        raise refuse(place, "must be true or false.")
    return value


def one_of(*known: str) -> Reader:
    """One of some words."""

    def reader(value: Any, place: str, plan: Plan) -> Any:
        del plan
        if not isinstance(value, str) or value not in known:
            raise refuse(place, f"must be one of: {', '.join(known)}.")
        return value

    return reader


def model(value: Any, place: str, plan: Plan) -> Any:
    """The name of a model. It is not scanned: it is no text, and what it names must be found."""
    del plan
    if not isinstance(value, str) or not _MODEL.fullmatch(value):
        raise refuse(place, "must be the name of a model: letters, digits and . _ : / -")
    return value


def identifier(value: Any, place: str, plan: Plan) -> Any:
    """A name for machines: scanned, but refused where another text would be changed."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise refuse(place, "must be letters, digits, _ and -, at most 128.")
    return plan.add(Leaf(value, place, fixed=True))


def call_id(value: Any, place: str, plan: Plan) -> Any:
    """The id of a tool call: only which are the same matters."""
    return plan.call(_string(value, place))


def alias(value: Any, place: str, plan: Plan) -> Any:
    """Who the end user is: only which are the same matters."""
    return plan.alias(_string(value, place))


def text(value: Any, place: str, plan: Plan) -> Any:
    """A text."""
    return plan.add(read(_string(value, place), place))


def texts(value: Any, place: str, plan: Plan) -> Any:
    """A text or a list of texts; a list of token ids is refused, for nobody has read it."""
    if not isinstance(value, list):
        plan.begin()
        return text(value, place, plan)
    if any(isinstance(inner, int | list) for inner in value):
        raise refuse(place, "holds token ids, which cannot be scanned: send text.", "not_scannable")
    return many(text)(value, place, plan)


def anything(plain: Collection[str] = ()) -> Reader:
    """Any JSON: its keys and strings are scanned, but for some words."""

    def reader(value: Any, place: str, plan: Plan) -> Any:
        return _Json(plan.add(read(json.dumps(value, ensure_ascii=False), place, plain)))

    return reader


def many(item: Reader) -> Reader:
    """A list; each of its items is a document of its own."""

    def reader(value: Any, place: str, plan: Plan) -> Any:
        found = []
        for index, inner in enumerate(_list(value, place)):
            plan.begin()
            found.append(item(inner, f"{place}[{index}]", plan))
        return found

    return reader


def together(item: Reader) -> Reader:
    """A list whose items are read as one document."""

    def reader(value: Any, place: str, plan: Plan) -> Any:
        items = enumerate(_list(value, place))
        return [item(inner, f"{place}[{index}]", plan) for index, inner in items]

    return reader


def either(string: Reader, other: Reader) -> Reader:
    """One reader for strings and one for all else."""

    def reader(value: Any, place: str, plan: Plan) -> Any:
        return (string if isinstance(value, str) else other)(value, place, plan)

    return reader


def biases(value: Any, place: str, plan: Plan) -> Any:
    """Numbers for token ids."""
    del plan
    if not isinstance(value, dict) or not all(
        key.isascii() and key.isdigit() and len(key) <= 7 and isinstance(bias, int | float)
        for key, bias in value.items()
    ):
        raise refuse(place, "must give numbers to token ids.")
    return value


def dropped(value: Any, place: str, plan: Plan) -> Any:
    """Whatever it is, it stays here."""
    del value, place, plan


def refused(problem: str) -> Reader:
    """Nothing: what may be in it cannot be scanned. Null and empty lists pass."""

    def reader(value: Any, place: str, plan: Plan) -> Any:
        del plan
        if value not in ([], {}):
            raise refuse(place, problem, "not_scannable")
        return value

    return reader


def fields(table: Mapping[str, Reader], *, apart: bool = False) -> Reader:
    """An object with known fields, each of which may be null.

    Args:
        table: what each field holds.
        apart: each field is a document of its own.
    """

    def reader(value: Any, place: str, plan: Plan) -> Any:
        if not isinstance(value, dict):
            raise ApiError(
                400,
                f"`{place}` must be an object." if place else "The body must be a JSON object.",
                param=place or None,
                code="invalid_value",
            )
        found = {}
        for name, inner in value.items():
            if name not in table:
                raise _unknown(name, place)
            if apart:
                plan.begin()
            where = f"{place}.{name}" if place else name
            known = table[name]
            if known is not dropped:
                found[name] = None if inner is None else known(inner, where, plan)
        return found

    return reader


def _unknown(name: str, place: str) -> ApiError:
    # Its name is for whoever sent it; `param` goes into the log, so there it has none.
    named = f" (`{name}`)" if _FIELD.fullmatch(name) else ""
    where = f"`{place}`" if place else "The body"
    return ApiError(
        400,
        f"{where} has a field{named} that the proxy does not know, so it cannot tell what is in "
        "it. docs/proxy.md lists those it knows; leave the others out.",
        param=place or None,
        code="unknown_parameter",
    )


def _string(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise refuse(place, "must be text.")
    return value


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise refuse(place, "must be a list.")
    return value
