"""What a generation gives the client, piece by piece, whatever it went through."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from endoscope.engine.requests import Finish, Step, score
from endoscope.server.answers import GuardAction, GuardSpan, Reading, SideCost


@dataclass(frozen=True)
class Piece:
    """What is released together.

    Attributes:
        text: what it adds to the answer.
        tokens: the generated tokens that it stands for; those of held text come with the text.
        readings: what was read, by probe.
        spans: what guards found, final now.
        actions: what guards did.
        costs: of models beside the serving one, with the last piece.
        finish: with the last piece, why it ends; `content_filter` where a guard stopped it.
        error: with finish `error`, what went wrong.
    """

    text: str = ""
    tokens: Sequence[Step] = ()
    readings: Mapping[str, list[Reading]] = field(default_factory=dict)
    spans: Sequence[GuardSpan] = ()
    actions: Sequence[GuardAction] = ()
    costs: Sequence[SideCost] = ()
    finish: Finish | Literal["content_filter"] | None = None
    error: str | None = None


async def plain(steps: AsyncGenerator[Step]) -> AsyncGenerator[Piece]:
    """Pass on what an engine streams, a piece a token."""
    async with aclosing(steps):
        async for step in steps:
            yield Piece(
                text=step.text,
                tokens=(step,),
                readings=readings(step),
                finish=step.finish,
                error=step.error,
            )


def readings(step: Step) -> dict[str, list[Reading]]:
    """Return what a step read, a number a position."""
    return {
        name: [(position, round(score(probabilities), 6)) for position, probabilities in scores]
        for name, scores in step.readings.items()
    }
