"""Guards as the server runs them: over an answer that streams, and over text at hand."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from endoscope.engine.requests import Request, Step
from endoscope.guard import Guard, GuardStream, Policy
from endoscope.guard.document import DocumentStream
from endoscope.guard.policy import Language
from endoscope.guard.serving import Generating, Hook, Judge, guarded
from endoscope.guard.together import Guarded
from endoscope.guard.watching import ReadingWatch, Watch
from endoscope.readouts import Readout
from endoscope.server.answers import GuardAction, GuardSpan, Reading, SideCost
from endoscope.server.pieces import Piece, readings

JUDGE = "model"
"""The judge that policies can name: the model that is served, asked in words."""


class Side(NamedTuple):
    """A model beside the serving one.

    Attributes:
        model: its name.
        spent: says how many tokens a watch has read with it, and in how many seconds.
    """

    model: str
    spent: Callable[[Any], tuple[int, float]]


@dataclass(frozen=True)
class ServedGuard:
    """One policy, loaded.

    Attributes:
        name: as requests say it.
        policy: what it looks for and what it does.
        watch: makes a guard over one generation.
        readouts: what the serving model is read with for it; none where a side model reads.
        offline: for text that is at hand; None where the policy judges texts as a whole.
        side: the side model that reads; None: the serving model does.
    """

    name: str
    policy: Policy
    watch: Callable[[Request], Watch]
    readouts: Mapping[str, Readout]
    offline: Guard | None
    side: Side | None = None


def reading_guard(
    name: str,
    policy: Policy,
    readout: Readout,
    thresholds: Mapping[str, float],
    offline: Guard | None,
    languages: Collection[Language] = ("en", "ja"),
) -> ServedGuard:
    """Return a guard that reads the serving model itself, from what generating computes anyway.

    Args:
        name: as requests say it.
        policy: what it looks for and what it does.
        readout: what the serving model is read with.
        thresholds: the least probability for each label.
        offline: for text that is at hand.
        languages: what the probe reads (see `GuardStream`).
    """
    read = f"guard:{name}"

    def watch(request: Request) -> Watch:
        stream: GuardStream | DocumentStream
        if policy.scope == "document":
            stream = DocumentStream(policy, readout.labels, thresholds)
        else:
            stream = GuardStream(policy, readout.labels, thresholds, languages=languages)
        return ReadingWatch(read, stream, len(request.token_ids))

    return ServedGuard(name, policy, watch, {read: readout}, offline)


async def guarded_pieces(
    engine: Generating,
    request: Request,
    guards: Sequence[ServedGuard],
    hook: Hook | None,
    judges: Mapping[str, Judge] | None = None,
) -> AsyncGenerator[Piece]:
    """Run a request and pass its answer through guards, the most important first.

    Args:
        engine: runs the request.
        request: with the readouts that the client asked for.
        guards: what its answer goes through.
        hook: how policies that escalate call a URL.
        judges: whom they can name to be asked.
    """
    read = {name: one for guard in guards for name, one in guard.readouts.items()}
    full = replace(request, readouts={**read, **request.readouts})
    watches = [guard.watch(full) for guard in guards]
    names = {id(guard.policy): guard.name for guard in guards}
    parts = guarded(engine, full, watches, judges=judges, hook=hook)
    try:
        async for part in parts:
            piece = _piece(part, names, request.readouts)
            yield replace(piece, costs=_costs(guards, watches)) if piece.finish else piece
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()


def _piece(part: Guarded, names: Mapping[int, str], wanted: Iterable[str]) -> Piece:
    spans = [
        GuardSpan(
            policy=names[id(found.policy)],
            start=found.span.start,
            end=found.span.end,
            label=found.span.label,
            score=round(found.span.score, 4),
            action="redact" if _replaces(found.policy, found.span.label) else "flag",
        )
        for found in part.spans
    ]
    actions = [
        GuardAction(
            policy=names[id(acted.policy)],
            action=acted.fired.action,
            label=acted.fired.span.label,
            score=round(acted.fired.span.score, 4),
            start=acted.fired.span.start,
            end=acted.fired.span.end,
        )
        for acted in part.actions
    ]
    return Piece(
        text=part.text,
        tokens=part.steps,
        readings=_merged(part.steps, frozenset(wanted)),
        spans=spans,
        actions=actions,
        finish=part.finish,
        error=part.error,
    )


def _costs(guards: Sequence[ServedGuard], watches: Sequence[Watch]) -> list[SideCost]:
    """What reading with models beside the serving one has cost."""
    costs = []
    for guard, watch in zip(guards, watches, strict=True):
        if guard.side is not None:
            tokens, seconds = guard.side.spent(watch)
            costs.append(
                SideCost(
                    policy=guard.name,
                    model=guard.side.model,
                    tokens=tokens,
                    seconds=round(seconds, 4),
                )
            )
    return costs


def _replaces(policy: Policy, label: str) -> bool:
    return policy.scope == "spans" and label in policy.redacted


def _merged(steps: Iterable[Step], wanted: frozenset[str]) -> dict[str, list[Reading]]:
    """What was read at several tokens, without what only guards wanted to know."""
    found: dict[str, list[Reading]] = {}
    for step in steps:
        for name, scores in readings(step).items():
            if name in wanted:
                found.setdefault(name, []).extend(scores)
    return found
