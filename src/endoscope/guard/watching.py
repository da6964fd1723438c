"""What feeds a guard over a generation: the readings that the serving model makes anyway."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from endoscope.engine.requests import NO_TOKEN, Step
from endoscope.guard.document import DocumentStream
from endoscope.guard.policy import Policy
from endoscope.guard.released import Released
from endoscope.guard.stream import GuardStream
from endoscope.readouts import TokenScores


class Watch(Protocol):
    """A guard over one generation.

    Attributes:
        policy: what it looks for.
        stream: what decides.
    """

    @property
    def policy(self) -> Policy: ...  # noqa: D102
    @property
    def stream(self) -> GuardStream | DocumentStream: ...  # noqa: D102

    def take(self, step: Step) -> Released:
        """Take a step of the engine; the last one ends the text.

        Raises:
            UnscoredError: the text was not scored.
        """
        ...


def joined(parts: Sequence[Released]) -> Released:
    """Return what went out one after the other as one."""
    return Released(
        "".join(part.text for part in parts),
        tuple(span for part in parts for span in part.spans),
        parts[-1].settled,
        tuple(fired for part in parts for fired in part.fired),
    )


class ReadingWatch:
    """A guard that reads the serving model itself.

    Only generated tokens are passed on: the prompt is not part of the text. The scores of a readout
    with a pooling are of all that was read up to a token, so they are of the prompt as well.

    Args:
        name: of the readout in the request.
        stream: what decides; a `DocumentStream` for a readout with a pooling.
        first: position of the first generated token: the number of tokens in the prompt.
    """

    def __init__(self, name: str, stream: GuardStream | DocumentStream, first: int) -> None:
        self.policy = stream.policy
        self.stream = stream
        self._name = name
        self._spans: dict[int, tuple[int, int]] = {}  # of tokens whose score has not been passed on
        self._scores: dict[int, Tensor] = {}
        self._next = first  # position
        self._length = self._last = 0

    def take(self, step: Step) -> Released:
        """Take a step of the engine."""
        self._length += len(step.text)
        if step.token_id != NO_TOKEN:
            self._spans[step.position] = step.span
            self._last = step.span[1]
        for position, probabilities in step.readings.get(self._name, ()):
            if position >= self._next:
                self._scores[position] = probabilities
        ended = step.finish in ("stop", "length")
        scores = self._ready(ended)
        following = self._spans.get(self._next)
        scored = self._last if following is None else following[0]
        released = self.stream.push(step.text, scores, scored=min(scored, self._length))
        return joined([released, self.stream.finish()]) if ended else released

    def _ready(self, ended: bool) -> TokenScores | None:
        """The next scores whose text has come."""
        offsets, rows = [], []
        while self._next in self._scores and self._next in self._spans:
            start, end = self._spans[self._next]
            if end > self._length and not ended:
                break
            del self._spans[self._next]
            row = self._scores.pop(self._next)
            self._next += 1
            end = min(end, self._length)  # a stop text is none of the text
            if start < end:
                offsets.append((start, end))
                rows.append(row.float().cpu())
        if not rows:
            return None
        return TokenScores(torch.tensor(offsets), torch.stack(rows), self.stream.labels)
