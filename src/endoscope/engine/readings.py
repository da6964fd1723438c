"""The readouts of many requests, fed with what each forward pass brings."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from endoscope.models import Site
from endoscope.readouts import Readout
from endoscope.readouts.incremental import PositionScores


class NotANumberError(Exception):
    """A readout gave NaN: what it read, or what it is made of, is broken."""


class RequestReadings:
    """The readouts of one request.

    Args:
        readouts: by name.
        unscored: how many tokens at the start of the prompt were added by the tokenizer (BOS):
            scoring a finished text leaves them out, and so they are left out here.
    """

    def __init__(self, readouts: Mapping[str, Readout], unscored: int) -> None:
        self.scorers = {name: (one, one.stream()) for name, one in readouts.items()}
        self.unscored = unscored
        self.sites = frozenset(site for one in readouts.values() for site in one.spec.sites)
        self._ready: dict[str, list[PositionScores]] = {name: [] for name in readouts}

    def push(self, values: Mapping[Site, Tensor], start: int) -> None:
        """Take what a pass brought, `[tokens, d_model]` at each site, from position `start` on."""
        skip = max(0, self.unscored - start)
        for name, (_, scorer) in self.scorers.items():
            rows = {site: values[site][skip:] for site in scorer.spec.sites}
            self.take(name, scorer.push(rows))

    def take(self, name: str, scores: Iterable[PositionScores]) -> None:
        """Keep scores, whose positions count from the first token that is scored.

        Raises:
            NotANumberError: one is NaN.
        """
        ready = self._ready[name]
        for position, probabilities in scores:
            ready.append(PositionScores(position + self.unscored, probabilities))

    def ready(self) -> dict[str, tuple[PositionScores, ...]]:
        """Return what is final and was not returned before."""
        out = {name: tuple(scores) for name, scores in self._ready.items() if scores}
        for name in out:
            self._ready[name] = []
        return out

    def finish(self) -> dict[str, tuple[PositionScores, ...]]:
        """Return all that is left, at the end of the text."""
        for name, (_, scorer) in self.scorers.items():
            self.take(name, scorer.finish())
        return self.ready()
