"""How placeholders are written, and what is taken for one.

`[NAME_1]` is what models copy reliably: short, capitals, the form that redacted text has
everywhere. Three light changes are put up with, for models make them: other case, full-width
brackets (in Japanese), and the backslashes that Markdown wants before an underscore. Without its
brackets it is not recognised: `NAME_1` may be anybody's variable, and `NAME_1` begins `NAME_12`.
"""

from collections.abc import Callable, Iterable, Iterator

import regex

from endoscope.errors import InputError

_LABEL = regex.compile(r"[A-Z][A-Z0-9_]{0,39}")
MOST_NUMBER = 999_999


class Form:
    """The placeholders of some labels.

    Everything that is recognised in an answer is escaped in a request, by the same pattern, so
    no text of a client's own is ever taken for a placeholder.

    Args:
        labels: what placeholders can stand for.

    Raises:
        InputError: there is none, or one that cannot be read back.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        known = sorted(labels, key=lambda label: (-len(label), label))
        if not known:
            raise InputError(
                "The policy takes nothing out, so the proxy would pass on everything.",
                "Give a label the action redact.",
            )
        if bad := [label for label in known if not _LABEL.fullmatch(label)]:
            raise InputError(
                f"The proxy cannot make placeholders of the label {bad[0]!r}.",
                "Labels are capitals, digits and underscores, at most 40, and begin with a letter.",
            )
        underscore = r"\\{0,2}_"
        names = "|".join(label.replace("_", underscore) for label in known)
        # No bracket can stand inside, so whether something is a placeholder depends on nothing
        # around it, and what is put together from texts and placeholders holds no other ones.
        self._pattern = regex.compile(
            rf"[\[［](?:{names}){underscore}[1-9][0-9]{{0,5}}[\]］]", regex.IGNORECASE | regex.ASCII
        )

    def write(self, label: str, number: int) -> str:
        """Return the placeholder with a number (from 1) of a label."""
        return f"[{label}_{number}]"

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield what in a text would be taken for a placeholder: `(start, end, label)`."""
        for match in self._pattern.finditer(text):
            yield *match.span(), _plain(match).rpartition("_")[0]

    def replace(self, text: str, value: Callable[[str], str | None]) -> str:
        """Put something in place of placeholders.

        Args:
            text: with placeholders, perhaps lightly changed.
            value: given a placeholder as `write` has it, what goes in its place; None: it stays.
        """

        def put(match: "regex.Match[str]") -> str:
            found = value(f"[{_plain(match)}]")
            return match[0] if found is None else found

        return self._pattern.sub(put, text)

    def open_end(self, text: str) -> int:
        """Return from where on a text may be the beginning of a placeholder; its length: nowhere.

        What is from there is at most some 130 characters long.
        """
        start = max(text.rfind("["), text.rfind("［"))
        if start >= 0:
            match = self._pattern.fullmatch(text, start, partial=True)
            if match and match.partial:
                return start
        return len(text)


def _plain(match: "regex.Match[str]") -> str:
    """Label and number, without what may be changed."""
    return match[0][1:-1].replace("\\", "").upper()
