"""The readouts of a request, fed with what each forward pass brings."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.models import Site
from endoscope.readouts import IncrementalScorer, JointScorer, PositionScores, Readout


class RequestReadings:
    """The readouts of one request.

    Args:
        readouts: by name.
        unscored: how many tokens at the start of the prompt were added to it (BOS). Scoring a
            finished text leaves them out, and so they are left out here.

    Attributes:
        sites: where something is read.
        fault: why there are no more readings, if there are none.
    """

    def __init__(self, readouts: Mapping[str, Readout], unscored: int) -> None:
        self.sites = frozenset(site for one in readouts.values() for site in one.spec.sites)
        self.unscored = unscored
        self.fault: str | None = None
        self.streams = [Stream(self, name, one, one.stream()) for name, one in readouts.items()]
        self._ready: dict[str, list[PositionScores]] = {name: [] for name in readouts}

    def take(self, name: str, scores: Sequence[PositionScores]) -> None:
        """Keep scores, whose positions count from the first token that is scored."""
        first = self.unscored
        self._ready[name] += [PositionScores(at + first, values) for at, values in scores]

    def ready(self) -> dict[str, tuple[PositionScores, ...]]:
        """Return what is final and was not returned before."""
        out = {name: tuple(scores) for name, scores in self._ready.items() if scores}
        for name in out:
            self._ready[name] = []
        return out

    def finish(self) -> dict[str, tuple[PositionScores, ...]]:
        """Return all that is left, at the end of the text."""
        scores = [stream.scorer.finish() for stream in self.streams]
        for stream, own in zip(self.streams, scores, strict=True):
            self.take(stream.name, own)
        check(self.streams, scores)
        return self.ready()

    def rest(self) -> dict[str, tuple[PositionScores, ...]]:
        """Return what `finish` would add to what is ready, and go on."""
        rest = ((stream.name, stream.scorer.rest()) for stream in self.streams)
        first = self.unscored
        return {
            name: tuple(PositionScores(at + first, values) for at, values in scores)
            for name, scores in rest
            if scores
        }


class Stream(NamedTuple):
    """One readout of one request."""

    owner: RequestReadings
    name: str
    readout: Readout
    scorer: IncrementalScorer


class Together:
    """Streams of readouts that are alike, and the rows of a pass that they read.

    Args:
        streams: of different requests, or of one.
        rows: their places in the batch, `[streams]`.
    """

    def __init__(self, streams: Sequence[Stream], rows: Tensor) -> None:
        self._streams = streams
        self._rows = rows
        self._scorer = JointScorer([stream.scorer for stream in streams])

    def push(self, values: Mapping[Site, Tensor]) -> None:
        """Take what a pass brought, `[rows, tokens, d_model]` at each site."""
        sites = self._streams[0].scorer.spec.sites
        try:
            scores = self._scorer.push({site: values[site][self._rows] for site in sites})
        except Exception as error:  # of a readout, so of those who are read by its like alone
            for stream in self._streams:
                stream.owner.fault = f"A readout failed ({type(error).__name__})."
            return
        for stream, own in zip(self._streams, scores, strict=True):
            stream.owner.take(stream.name, own)
        check(self._streams, scores)


def gather(places: Iterable[tuple[int, Stream]], device: torch.device) -> list[Together]:
    """Return what is pushed together, of streams and the rows that they read."""
    alike: dict[Hashable, list[tuple[int, Stream]]] = defaultdict(list)
    for row, stream in places:
        alike[stream.readout.alike].append((row, stream))
    return [
        Together([one for _, one in several], torch.tensor([row for row, _ in several]).to(device))
        for several in alike.values()
    ]


def check(streams: Sequence[Stream], scores: Sequence[Sequence[PositionScores]]) -> None:
    """Find scores that are no numbers: a probe that says nothing must not pass for a "no"."""
    rows = [one.probabilities for own in scores for one in own]
    if not rows or isfinite(torch.stack(rows).sum()):  # one NaN makes the sum NaN
        return
    for stream, own in zip(streams, scores, strict=True):
        if not all(isfinite(one.probabilities.sum()) for one in own):
            stream.owner.fault = "A readout gave no number."
