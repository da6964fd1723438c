"""Guards as the server runs them: over an answer that streams, and over text at hand."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from endoscope.engine.requests import Request
from endoscope.guard import Guard
from endoscope.server.pieces import Piece
from endoscope.server.served import Served


@dataclass(frozen=True)
class ServedGuard:
    """One policy, loaded.

    Attributes:
        name: as requests say it.
        offline: for text that is at hand.
    """

    name: str
    offline: Guard


async def guarded_pieces(
    served: Served, request: Request, names: Sequence[str]
) -> AsyncGenerator[Piece]:
    """Run a request and pass its answer through guards."""
    async for step in served.engine.submit(request):
        yield Piece(step.text, (step,), finish=step.finish)
