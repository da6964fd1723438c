"""A folder of cards."""

from collections.abc import Iterator
from pathlib import Path

from endoscope.artifacts import Card, read_card
from endoscope.directions import Direction
from endoscope.errors import InputError


class Catalogue:
    """A folder in which every folder with a card is an entry, by its path from here.

    Args:
        folder: of the catalogue.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"There is no catalogue at {folder}.", "Give a folder.")

    def cards(self, kind: str | None = None) -> Iterator[tuple[str, Card]]:
        """Yield the cards, of one kind or all, by name.

        Raises:
            InputError: a card is damaged.
        """
        for path in sorted(self.folder.rglob("card.json")):
            card = read_card(path.parent)
            if kind is None or card.kind == kind:
                yield str(path.parent.relative_to(self.folder)), card

    def card(self, name: str) -> Card:
        """Return a card by its name.

        Raises:
            InputError: there is none.
        """
        found = dict(self.cards())
        if name not in found:
            known = ", ".join(found) or "it is empty"
            raise InputError(f"The catalogue has no {name}.", f"It has: {known}.")
        return found[name]

    def directions(self) -> Iterator[tuple[str, Direction]]:
        """Yield the directions, by name."""
        for name, _ in self.cards("direction"):
            yield name, Direction.load(self.folder / name)

    def __repr__(self) -> str:
        kinds: dict[str, int] = {}
        for _, card in self.cards():
            kinds[card.kind] = kinds.get(card.kind, 0) + 1
        counts = ", ".join(f"{kind}: {count}" for kind, count in kinds.items())
        return f"Catalogue({str(self.folder)!r}: {counts or 'empty'})"
