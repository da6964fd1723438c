"""Whether a model is still within the bounds of its catalogue."""

from collections.abc import Iterator
from typing import NamedTuple

from endoscope.behaviours import Figure, measure
from endoscope.catalogue.catalogue import Catalogue
from endoscope.catalogue.entry import KIND, Bound, Entry
from endoscope.engine import Model


class Checked(NamedTuple):
    """A behaviour, measured again.

    Attributes:
        name: of its entry.
        before: what the card says.
        now: what the model does now.
        bound: how much there may be.
        relation: of the model to that of the card: `same`, `derived` or `foreign`.
    """

    name: str
    before: float
    now: Figure
    bound: Bound
    relation: str

    @property
    def holds(self) -> bool:
        """Whether the model is within the bound."""
        return self.bound.holds(self.now.value)


def check(catalogue: Catalogue, model: Model, *, show: bool = False) -> Iterator[Checked]:
    """Measure every behaviour of a catalogue again, and hold it against its bound.

    Args:
        catalogue: with cards of behaviours; other cards are passed over.
        model: that may have drifted.
        show: whether to show progress.
    """
    for name, card in catalogue.cards(KIND):
        entry = Entry.of(card)
        found = measure(model, entry.behaviour, seed=card.seed or 0, progress=show)
        before = next(one.value for one in card.evidence if one.metric == "mean")
        relation = card.model.relation(model.fingerprint)
        yield Checked(name, before, found.mean, entry.bound, relation)
