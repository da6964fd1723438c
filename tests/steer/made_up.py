"""Points and sweeps with made-up figures."""

from typing import Any

from endoscope.artifacts import fingerprint_of
from endoscope.behaviours import Figure
from endoscope.steer import Limits, Place, Point, Sweep
from endoscope.steer.ranges import best, front, usable

PLAIN = Place(split="choosing", kind="plain")
SITES = ("resid_post.8", "resid_post.12")


def figure(value: float, spread: float = 0.0) -> Figure:
    return Figure(value=value, low=value - spread, high=value + spread)


def point(
    place: Place,
    score: float,
    perplexity: float = 1.0,
    repeats: float = 1.0,
    spread: float = 0.01,
    plain: float = 0.05,
) -> Point:
    return Point(
        place=place,
        n=32,
        score=figure(score, spread),
        rise=figure(score - plain, spread),
        perplexity=2 * perplexity,
        perplexity_ratio=figure(perplexity, spread),
        repeats=0.03 * repeats,
        repeats_ratio=figure(repeats, spread),
        kl=figure(0.3, spread) if place.site else None,
        tokens=60.0,
    )


def steered(strength: float, score: float, site: str = SITES[0], **more: Any) -> Point:
    return point(
        Place(split="choosing", kind="direction", site=site, strength=strength), score, **more
    )


def made_up() -> Sweep:
    """Scores that rise with strength, as perplexity and repeats do; the later site does better."""
    points = [point(PLAIN, 0.05), point(Place(split="choosing", kind="prompt"), 0.4)]
    for number, site in enumerate(SITES):
        for strength in (0.1, 0.2, 0.3):
            more = {"perplexity": 1 + 5 * strength, "repeats": 0.5 + 40 * strength**2.5}
            score = 0.05 + 2 * strength * (1 + number / 2)
            points.append(steered(strength, score, site, spread=0.04, **more))
            place = points[-1].place.model_copy(update={"kind": "random"})
            points.append(point(place, 0.06, perplexity=1 + strength, spread=0.03))
    limits = Limits()
    chosen = best(points, limits).place
    there = chosen.model_copy(update={"split": "held_out"})
    held_out = [
        point(Place(split="held_out", kind="plain"), 0.05),
        point(Place(split="held_out", kind="prompt"), 0.35),
        point(there, 0.6, perplexity=1.8, repeats=1.2),
        *(
            point(there.model_copy(update={"kind": "random", "number": i}), 0.05 + i / 50)
            for i in range(3)
        ),
    ]
    traded = [one for one in points if one.place.kind in ("plain", "direction")]
    return Sweep(
        behaviour="sea",
        behaviour_sha256="0" * 64,
        description="Speaks of the sea.",
        scorer="check",
        model=fingerprint_of({}, {}),
        model_name="tiny",
        dtype="float32",
        directions=dict.fromkeys(SITES, "sea"),
        strengths=(0.1, 0.2, 0.3),
        positions="all",
        instruction="Speak of the sea.",
        random=3,
        limits=limits,
        points=tuple(points),
        held_out=tuple(held_out),
        usable=usable(points, limits),
        front=tuple(one.place for one in front(traded)),
        chosen=chosen,
        seed=0,
        command="endoscope steer sweep",
    )
