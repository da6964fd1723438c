"""Which strengths are of use, and which trade the least coherence for the most of a behaviour."""

from collections.abc import Iterable, Sequence

from pydantic import Field

from endoscope.steer.cell import Record
from endoscope.steer.points import Point


class Limits(Record):
    """When steering counts as of use.

    Attributes:
        rise: the least that the score has to rise over the plain model's, its interval above 0.
        perplexity: the most that perplexity may be, as a multiple of the plain text's.
        repeats: the same of the share of repeated 4-grams.
    """

    rise: float = Field(default=0.3, gt=0)
    perplexity: float = Field(default=2.0, ge=1)
    repeats: float = Field(default=1.5, ge=1)

    def coherent(self, point: Point) -> bool:
        """Whether the text of a point still is one."""
        return (
            point.perplexity_ratio.value <= self.perplexity
            and point.repeats_ratio.value <= self.repeats
        )

    def usable(self, point: Point) -> bool:
        """Whether the score of a point has risen enough, and its text still is one."""
        return point.rise.value >= self.rise and point.rise.low > 0 and self.coherent(point)


def usable(points: Iterable[Point], limits: Limits) -> dict[str, tuple[float, ...]]:
    """Return the strengths of the direction that are of use, ascending, by site."""
    found: dict[str, list[float]] = {}
    for point in points:
        if point.place.kind == "direction":
            strengths = found.setdefault(str(point.place.site), [])
            if limits.usable(point):
                strengths.append(float(point.place.strength or 0))
    return {site: tuple(sorted(strengths)) for site, strengths in found.items()}


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the Pareto front: no other point has at least the score at no more perplexity.

    From the least perplexity to the most. Of points that are equal in both, the first is kept.
    """
    kept: list[Point] = []
    # Sorted so, a point is on the front if it scores more than all before it.
    for point in sorted(points, key=lambda one: (one.perplexity, -one.score.value)):
        if not kept or point.score.value > kept[-1].score.value:
            kept.append(point)
    return tuple(kept)


def best(points: Sequence[Point], limits: Limits) -> Point:
    """Return the point of the direction that rises most: of those of use, or else of the coherent.

    Where no point is coherent, it is the one with the least perplexity. Of equals it is the one
    with less perplexity.
    """
    steered = [point for point in points if point.place.kind == "direction"]
    coherent = [point for point in steered if limits.coherent(point)]
    useful = [point for point in coherent if limits.usable(point)]
    if not coherent:
        return min(steered, key=lambda one: one.perplexity)
    return max(useful or coherent, key=lambda one: (one.rise.value, -one.perplexity))
