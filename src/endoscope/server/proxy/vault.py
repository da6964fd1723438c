"""The map of one session: values and their placeholders. It is in memory and nowhere else."""

from collections.abc import Iterator
from unicodedata import normalize

from endoscope.server.errors import ApiError
from endoscope.server.proxy.placeholders import MOST_NUMBER, Form

MOST_VALUES = 10_000

# Machines compare these: another case or width is another password, user or number.
EXACT = frozenset({"SECRET", "USERNAME", "ID"})


class Value:
    """Something that was taken out of a request.

    Attributes:
        text: as it stood where it was seen first.
        label: what it is.
        placeholder: what stands in its place.
        exact: whether only the very same text is the same value.
        literal: whether it is no personal data, but text that looks like a placeholder.
    """

    __slots__ = ("exact", "label", "literal", "placeholder", "text")

    def __init__(self, text: str, label: str, placeholder: str, literal: bool) -> None:
        self.text = text
        self.label = label
        self.placeholder = placeholder
        self.literal = literal
        self.exact = literal or label in EXACT

    def __repr__(self) -> str:
        return f"Value({self.placeholder})"


class Vault:
    """Gives values placeholders and takes them back.

    Values that differ only in case, width and white space are the same; secrets, user names and
    numbers only if nothing differs. What is put back is the form that was seen first.

    Args:
        form: how placeholders are written.
        most: values it holds.
    """

    def __init__(self, form: Form, most: int = MOST_VALUES) -> None:
        self.form = form
        self._most = min(most, MOST_NUMBER)
        self._same: dict[str, list[Value]] = {}
        self._values: dict[str, Value] = {}
        self._numbers: dict[str, int] = {}

    def placeholder(self, text: str, label: str, *, literal: bool = False) -> str:
        """Return what stands in place of a value, the same each time.

        Args:
            text: the value.
            label: what it is; the label that a value had first stays.
            literal: it is, or holds, what looks like a placeholder, and must come back as it is.

        Raises:
            ApiError: there is no room for another value.
        """
        alike = self._same.setdefault(canonical(text), [])
        exact = literal or label in EXACT
        for value in alike:
            if value.text == text or not (exact or value.exact):
                return value.placeholder
        if len(self._values) >= self._most:
            raise ApiError(
                413,
                f"There are more than {self._most:,} values to take out: begin a new session or "
                "send less at once.",
                code="too_many_values",
            )
        number = self._numbers[label] = self._numbers.get(label, 0) + 1
        new = Value(text, label, self.form.write(label, number), literal)
        alike.append(new)
        self._values[new.placeholder] = new
        return new.placeholder

    def value(self, placeholder: str) -> str | None:
        """Return what a placeholder stands for; None: it is none of ours."""
        found = self._values.get(placeholder)
        return None if found is None else found.text

    def __iter__(self) -> Iterator[Value]:
        return iter(list(self._values.values()))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Vault({len(self)} values)"


def canonical(text: str) -> str:
    """What values that are the same have in common, as the guard has it."""
    return " ".join(normalize("NFKC", text).casefold().split())
