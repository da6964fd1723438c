"""The readings of a request that is read elsewhere: what workers report, checked."""

from collections.abc import Mapping
from math import isfinite

from endoscope.engine.readings import RequestReadings
from endoscope.engine.vllm.reports import Report, Scores
from endoscope.readouts import PositionScores, Readout


class RemoteReadings(RequestReadings):
    """Takes reports where `RequestReadings` takes activations; gives out the same."""

    def __init__(self, readouts: Mapping[str, Readout], unscored: int) -> None:
        super().__init__(readouts, unscored)
        self._rest: Scores = {}

    def report(self, report: Report) -> None:
        """Take what one forward pass brought."""
        self.fault = self.fault or report.fault
        for name, scores in report.scores.items():
            self._ready[name] += scores
        self._rest = report.rest
        rows = [*report.scores.values(), *report.rest.values()]
        if not all(isfinite(one.probabilities.sum()) for row in rows for one in row):
            self.fault = self.fault or "A readout gave no number."

    def finish(self) -> dict[str, tuple[PositionScores, ...]]:
        """Return all that is left, at the end of the text."""
        for name, scores in self._rest.items():
            self._ready[name] += scores
        return self.ready()
