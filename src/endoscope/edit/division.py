"""What an edit may learn from, of what a budget names, and what is left to verify by."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from endoscope.behaviours import Behaviour, Item


@dataclass(frozen=True)
class Division:
    """What an edit may learn from, of what a budget names.

    Attributes:
        falling: what is to fall, where a budget says so, with those of its items that may be
            learned from, if any.
        wanted: what is to stay, with such items.
        unseen: the items that verify. No answer to them is learned from.
    """

    falling: Behaviour | None = None
    wanted: tuple[Behaviour, ...] = ()
    unseen: tuple[Item, ...] = ()

    def without(self, *more: Item) -> "Division":
        """Return it with more items that verify."""
        return Division(self.falling, self.wanted, (*self.unseen, *more))

    def allows(self, item: Item) -> bool:
        """Whether a conversation is none that verifies."""
        return item.conversation() not in self._conversations

    def allowed(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """Return the items that may be learned from."""
        return tuple(one for one in items if self.allows(one))

    def allows_words(self, words: str | None) -> bool:
        """Whether nothing that verifies ends with what somebody said."""
        return words not in self._last

    @cached_property
    def _conversations(self) -> list[list[dict[str, str]]]:
        return [one.conversation() for one in self.unseen]

    @cached_property
    def _last(self) -> set[str]:
        return {one[-1]["content"] for one in self._conversations}
