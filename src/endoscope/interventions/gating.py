"""The state of a gate while its request runs."""

from bisect import bisect_right
from math import isfinite

from torch import Tensor

from endoscope.interventions.compiled import Stage, last
from endoscope.interventions.gate import Gate
from endoscope.models.sites import Site


class GateState:
    """What one gate has seen of one request, and where it is open.

    A gate is known by the positions at which it fired: it is then open for `hold` tokens, from that
    position on if it acts at once, else from the next. So the answer for a position does not depend
    on how the text was cut into forward passes, nor on whether a part of it is run again.

    Args:
        gate: what decides.
        stage: the intervention that it is for.
        prompt_length: tokens in the prompt, which counts as one forward pass.
        unscored: how many tokens at the start were added (BOS), which probes do not read.

    Attributes:
        fault: why it decides no more, if it does not: a probe that says nothing must not pass for a
            "no".
    """

    def __init__(self, gate: Gate, stage: Stage, prompt_length: int, unscored: int) -> None:
        self.sites = gate.readout.spec.sites
        self._gate = gate
        self._label = gate.readout.labels.index(gate.label)
        self._scorer = gate.readout.stream()
        self._immediate = stage.immediate
        self._prompt_length = prompt_length
        self._last = last(self.sites)
        self._first = unscored
        self._next = unscored  # the first position that was not read yet
        self._rows: dict[Site, Tensor] = {}
        self._fired: list[int] = []  # positions, ascending
        self._pending: list[int] = []  # fired in a pass that has not ended
        self.fault: str | None = None

    def read(self, site: Site, rows: Tensor, positions: list[int]) -> None:
        """Take the rows `[n, d_model]` of the request in this pass; positions ascend."""
        new = [number for number, position in enumerate(positions) if position >= self._next]
        if not new:
            return
        # Kept for as long as others are to come, while what they are from may be written in place.
        self._rows[site] = rows[new[0] :] if site == self._last else rows[new[0] :].clone()
        if site == self._last:
            known = positions[new[0] :]
            self._next = known[-1] + 1
            try:
                fired = self._score()
            except Exception as error:  # of the probe, so of its request and of nobody else
                self.fault = f"A gate's probe failed ({type(error).__name__})."
                fired = []
            (self._fired if self._immediate else self._pending).extend(fired)
            self._rows = {}

    def is_open(self, position: int) -> bool:
        """Whether the intervention acts at a position."""
        if not self._immediate:
            if position < self._prompt_length:
                return False
            position -= 1
        index = bisect_right(self._fired, position) - 1
        return index >= 0 and position - self._fired[index] < self._gate.tokens

    def end_forward(self) -> None:
        """Let what was decided in this pass take effect; the prompt counts as one."""
        if self._next >= self._prompt_length:
            self._fired.extend(self._pending)
            self._pending.clear()

    def _score(self) -> list[int]:
        """Return the positions at which a decision to open became known."""
        # The score of a token is known `look_ahead` tokens after it.
        shift = self._first + self._gate.readout.spec.look_ahead
        scores = self._scorer.push(self._rows)
        values = [float(one.probabilities[self._label]) for one in scores]
        if not all(map(isfinite, values)):
            self.fault = "A gate's probe gave no number."
        return [
            one.position + shift
            for one, value in zip(scores, values, strict=True)
            if value >= self._gate.threshold
        ]
