"""Pieces put together again, for answers that are not streamed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from endoscope.engine.requests import Step
from endoscope.server.answers import EndoscopeAnswer, Finish, GuardFindings
from endoscope.server.pieces import Piece


@dataclass
class Whole:
    """One choice, complete."""

    pieces: list[Piece] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def tokens(self) -> list[Step]:
        """Its tokens."""
        return [step for piece in self.pieces for step in piece.tokens]

    @property
    def finish(self) -> Finish:
        """Why it ended."""
        found = finish(self.pieces[-1])
        assert found is not None
        return found

    def ours(self, timed_out: bool) -> EndoscopeAnswer:
        """Return all that is ours in one object."""
        whole = EndoscopeAnswer(guard=GuardFindings(spans=[], actions=[]), readings={}, costs=[])
        for piece in self.pieces:
            for name, scores in piece.readings.items():
                whole.readings.setdefault(name, []).extend(scores)
            whole.guard.spans += piece.spans
            whole.guard.actions += piece.actions
            whole.costs += piece.costs
        whole.timed_out = timed_out
        return whole


async def join(pieces: AsyncIterator[tuple[int, Piece]], choices: int) -> list[Whole]:
    """Return each choice, in order."""
    wholes = [Whole() for _ in range(choices)]
    async for number, piece in pieces:
        wholes[number].pieces.append(piece)
    return wholes


def ours(piece: Piece, timed_out: bool) -> EndoscopeAnswer | None:
    """Return what of a piece is ours; None: nothing."""
    found = EndoscopeAnswer()
    if piece.readings:
        found.readings = dict(piece.readings)
    if piece.spans or piece.actions:
        found.guard = GuardFindings(spans=list(piece.spans), actions=list(piece.actions))
    if piece.costs:
        found.costs = list(piece.costs)
    if timed_out:
        found.timed_out = True
    return found if found.model_fields_set else None


def finish(piece: Piece) -> Finish | None:
    """Return why a piece is the last, as OpenAI says it."""
    if piece.finish == "cancelled" or piece.finish == "error":
        raise AssertionError(piece.finish)  # neither gets here: a timeout is a length
    return piece.finish
