"""What a sweep says of a direction, on the direction's card."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from endoscope.artifacts import DataRef, Evidence
from endoscope.behaviours import Figure
from endoscope.directions import Direction
from endoscope.steer.points import Point
from endoscope.steer.ranges import best
from endoscope.steer.sweep import Sweep, named

_METRICS = ("score", "rise", "perplexity_ratio", "repeats_ratio", "kl")
STEERING = "steering"


def with_steering(direction: Direction, sweep: Sweep) -> Direction:
    """Return a direction whose card says what it does when it is added.

    At the chosen site the figures are of the held-out prompts; at others they are of the prompts
    for choosing, at the strength that does best there, and the split says so. What an earlier
    sweep said of the same behaviour is replaced.

    Args:
        direction: one of those that were swept.
        sweep: what came of it.
    """
    site = str(direction.site)
    if site == sweep.chosen.site and sweep.held_out:
        points: Sequence[Point] = sweep.held_out
    else:
        top = best(sweep.line("direction", site), sweep.limits)
        beside = [
            point
            for point in sweep.line("random", site)
            if point.place.strength == top.place.strength
        ]
        points = [sweep.one("plain"), sweep.one("prompt"), top, *beside]
    kept = [
        one
        for one in direction.card.evidence
        if not (one.metric.startswith(f"{STEERING}_") and one.label == sweep.behaviour)
    ]
    card = direction.card.model_copy(
        update={
            "evidence": (*kept, *_evidence(sweep, points)),
            "details": {**direction.card.details, STEERING: _details(sweep, site)},
        }
    )
    return replace(direction, card=card)


def _evidence(sweep: Sweep, points: Sequence[Point]) -> Iterable[Evidence]:
    data = DataRef(name=sweep.behaviour, sha256=sweep.behaviour_sha256, rows=points[0].n)
    strength = next(p.place.strength for p in points if p.place.kind == "direction")
    for name, point in named(points):
        for metric in _METRICS:
            figure: Figure | None = getattr(point, metric)
            if figure is not None:
                yield Evidence(
                    metric=f"{STEERING}_{metric}",
                    **figure.model_dump(),
                    n=point.n,
                    data=data,
                    split=point.place.split,
                    baseline=None if point.place.kind == "direction" else name,
                    label=sweep.behaviour,
                    note=f"strength {strength:g} typical norms, positions {sweep.positions}",
                )


def _details(sweep: Sweep, site: str) -> dict[str, Any]:
    points = [point for point in sweep.points if point.place in sweep.front]
    return {
        "behaviour": sweep.behaviour,
        "positions": sweep.positions if isinstance(sweep.positions, str) else list(sweep.positions),
        "limits": sweep.limits.model_dump(),
        "usable_strengths": list(sweep.usable[site]),
        "pareto_front": [
            {
                "site": point.place.site,
                "strength": point.place.strength,
                "score": point.score.value,
                "perplexity_ratio": point.perplexity_ratio.value,
            }
            for point in points
        ],
        "command": sweep.command,
    }
