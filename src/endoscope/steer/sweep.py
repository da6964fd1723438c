"""What came of a sweep."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import AwareDatetime, Field

from endoscope.artifacts import Fingerprint, read_record, write_record
from endoscope.interventions.operations import Positions
from endoscope.steer.cell import Kind, Place, Record
from endoscope.steer.points import Point
from endoscope.steer.ranges import Limits

FILE = "sweep.json"


class Sweep(Record):
    """What adding directions does to a behaviour and to the text.

    Attributes:
        behaviour: its name.
        behaviour_sha256: of its spec.
        description: what the model does that has it.
        scorer: the kind of its scorer.
        model: fingerprint of the model.
        model_name: the name under which it was opened.
        adapter: the folder of the PEFT adapter that was given beside that name, if one was.
        dtype: in which precision it ran.
        directions: what they are called, by site.
        strengths: in typical norms of the site, as they were given.
        positions: where the directions were added.
        instruction: what the prompt-only baseline was asked for.
        random: how many random directions there were.
        limits: when steering counts as of use.
        points: on the prompts for choosing; the plain model first, then the prompt-only baseline.
        held_out: on the others, at the chosen site and strength, in the same order; each random
            direction by itself.
        usable: the strengths that are of use on the prompts for choosing, by site.
        front: of the plain model's point and the direction's, those that no other beats in both
            score and perplexity, from the least perplexity to the most.
        chosen: where the direction does best on the prompts for choosing.
        seed: of everything random.
        command: the command line that makes it again, or where it was made.
        created: when, in UTC.
        endoscope: version of Endoscope that made it.
    """

    behaviour: str
    behaviour_sha256: str
    description: str
    scorer: str
    model: Fingerprint
    model_name: str
    adapter: str | None = None
    dtype: str
    directions: Mapping[str, str]
    strengths: tuple[float, ...]
    positions: Positions
    instruction: str
    random: int
    limits: Limits
    points: tuple[Point, ...]
    held_out: tuple[Point, ...] = ()
    usable: Mapping[str, tuple[float, ...]]
    front: tuple[Place, ...]
    chosen: Place
    seed: int
    command: str
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    endoscope: str = Field(default_factory=lambda: version("endoscope"))

    def line(self, kind: Kind, site: str) -> list[Point]:
        """Return the points of a kind at a site, on the prompts for choosing, by strength."""
        found = [p for p in self.points if p.place.kind == kind and p.place.site == site]
        return sorted(found, key=lambda point: point.place.strength or 0)

    def one(self, kind: Kind, *, held_out: bool = False) -> Point:
        """Return the point of a kind that has one: `plain`, `prompt`; held out, `direction` too."""
        points = self.held_out if held_out else self.points
        return next(point for point in points if point.place.kind == kind)

    @property
    def random_rises(self) -> tuple[float, ...]:
        """How much the score rose with each random direction, held out."""
        return tuple(p.rise.value for p in self.held_out if p.place.kind == "random")

    @property
    def confirmed(self) -> bool:
        """Whether the chosen site and strength are of use on the held-out prompts as well."""
        return bool(self.held_out) and self.limits.usable(self.one("direction", held_out=True))

    def save(self, folder: str | Path) -> None:
        """Write `sweep.json` into a folder, whole or not at all.

        Raises:
            InputError: the disk is full, or nothing may be written there.
        """
        write_record(Path(folder) / FILE, self)

    @classmethod
    def load(cls, folder: str | Path) -> "Sweep":
        """Read what `save` wrote.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = Path(folder) / FILE
        return read_record(cls, path, "sweep", "Give the folder of `endoscope steer sweep`.")

    def __repr__(self) -> str:
        lines = [
            f"Sweep({self.behaviour!r} of {self.model_name!r}, {self.scorer}, "
            f"positions {self.positions})"
        ]
        lines += [f"  usable at {site}: {_listed(found)}" for site, found in self.usable.items()]
        lines += [f"  chosen: {self.chosen.site} x {self.chosen.strength:g}"]
        points = self.held_out or self.points[:2]
        lines += [f"  {'held out' if self.held_out else 'choosing'}, {points[0].n:,} items:"]
        lines += [f"    {name:<22}{_figures(point)}" for name, point in named(points)]
        return "\n".join(lines)

    __str__ = __repr__


def named(points: Sequence[Point]) -> list[tuple[str, Point]]:
    """Return points with what people call them."""
    names = {"plain": "plain", "prompt": "prompt only", "direction": "the direction"}

    def name(place: Place) -> str:
        if place.number is not None:
            return f"random direction {place.number}"
        return names.get(place.kind, "random directions")

    return [(name(point.place), point) for point in points]


def _figures(point: Point) -> str:
    kl = "" if point.kl is None else f"; KL {point.kl.value:.2f} nats"
    return (
        f"score {point.score}, perplexity x {point.perplexity_ratio.value:.2f}, "
        f"repeats x {point.repeats_ratio.value:.2f}{kl}"
    )


def _listed(strengths: Sequence[float]) -> str:
    return ", ".join(f"{strength:g}" for strength in strengths) or "no strength"
