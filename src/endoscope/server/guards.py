"""Guards as the server runs them: over an answer that streams, and over text at hand."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from endoscope.engine import Model
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


def load_guards(policies: Mapping[str, str], model: Model, device: str) -> dict[str, ServedGuard]:
    """Open policies and the probes that they name.

    Args:
        policies: by name: one that comes with Endoscope, or a YAML file.
        model: the model that is served.
        device: where side models run.

    Raises:
        InputError: there is no such policy, or it cannot be used.
    """
    del model
    return {
        name: ServedGuard(name, Guard.load(policy, device=device))
        for name, policy in policies.items()
    }


async def guarded_pieces(
    served: Served, request: Request, names: Sequence[str]
) -> AsyncGenerator[Piece]:
    """Run a request and pass its answer through guards."""
    async for step in served.engine.submit(request):
        yield Piece(step.text, (step,), finish=step.finish)
