"""Stop texts: found across the borders of tokens, and held back while they may still come."""

from typing import NamedTuple


class Released(NamedTuple):
    """What may be shown, and whether a stop text was found after it."""

    text: str
    stopped: bool


class StopTexts:
    """Looks for texts that end a generation.

    The stop text that is complete first counts, and of several that are complete at once the
    longest; so it does not matter how the text is cut into pieces.

    Args:
        stops: the texts, none empty.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""

    def push(self, text: str) -> Released:
        """Take the next characters; hold back what may become a stop text."""
        if not self._stops:
            return Released(text, False)
        whole = self._held + text
        found = [
            (start + len(stop), start) for stop in self._stops if (start := whole.find(stop)) >= 0
        ]
        if found:
            self._held = ""
            return Released(whole[: min(found)[1]], True)
        kept = max(_overlap(whole, stop) for stop in self._stops)
        self._held = whole[len(whole) - kept :]
        return Released(whole[: len(whole) - kept], False)

    def finish(self) -> str:
        """Return what was held back: nothing comes any more."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text are the beginning of a stop text."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
