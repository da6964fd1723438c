"""The report as a page that needs no other file."""

from collections import defaultdict
from collections.abc import Sequence
from importlib.resources import files
from math import log10
from typing import NamedTuple

from jinja2 import Environment

from endoscope.diff.methods.behaviours import Behaviours
from endoscope.diff.methods.weights import MATRICES
from endoscope.diff.report import Ran, Report
from endoscope.diff.signal import Signal

LEFT, WIDTH, ROW = 190, 720, 26  # of a plot, in pixels
LEAST, MOST = 0.1, 100.0  # strengths that are drawn; others stand at the edge
TICKS = (0.1, 1.0, 10.0, 100.0)


class Dot(NamedTuple):
    """A signal in a plot.

    Attributes:
        x: where it stands.
        y: where it stands.
        above: whether it is above the noise floor.
        text: what is said where the pointer rests on it.
    """

    x: float
    y: float
    above: bool
    text: str


class Line(NamedTuple):
    """A row of a plot: its name, how high it is, and what stands on it."""

    name: str
    y: float
    dots: tuple[Dot, ...]


class Plot(NamedTuple):
    """Signals by method, against the noise floor."""

    width: int
    height: int
    left: int
    floor: float
    ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]


class Bar(NamedTuple):
    """How much a layer's matrices changed.

    Attributes:
        layer: its number.
        height: a share of the largest, 0 to 100.
        text: what is said where the pointer rests on it.
    """

    layer: int
    height: float
    text: str


def to_html(report: Report) -> str:
    """Return the report as a page: findings, plots, samples, the black box, and what it cost."""
    source = (files("endoscope.diff") / "report.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    methods = (*report.methods, report.black_box)
    return page.render(
        report=report,
        plot=plot(methods),
        bars={one.rank: round(100 * _share(one.score), 1) for one in report.findings},
        floor=round(100 * _share(1.0), 1),
        layers=layers(report),
        behaviours=[one for ran in methods if ran.method == Behaviours.name for one in ran.signals],
        seconds=sum(one.seconds for one in methods),
    )


def plot(methods: Sequence[Ran]) -> Plot:
    """Place every signal of every method: how far it stands above the noise, on a log scale."""
    lines = tuple(_line(number, one) for number, one in enumerate(methods))
    ticks = tuple((_x(one), f"{one:g}") for one in TICKS)
    return Plot(WIDTH, ROW * (len(lines) + 1), LEFT, _x(1.0), ticks, lines)


def layers(report: Report) -> list[Bar]:
    """Return how much each layer changed: the norm of the change over that of its matrices."""
    found: dict[int, list[float]] = defaultdict(list)
    for ran in report.methods:
        for one in ran.details.get(MATRICES, []):  # type: ignore[union-attr]
            found[one["layer"]].append(one["relative norm"])  # type: ignore[index, call-overload, arg-type]
    means = {layer: sum(some) / len(some) for layer, some in sorted(found.items())}
    most = max(means.values(), default=0.0) or 1.0
    return [
        Bar(layer, round(100 * mean / most, 1), f"layer {layer}: {mean:.4f} of its norm")
        for layer, mean in means.items()
    ]


def _line(number: int, ran: Ran) -> Line:
    y = ROW * (number + 0.5)
    return Line(ran.method, y, tuple(_dot(one, y) for one in ran.signals))


def _dot(signal: Signal, y: float) -> Dot:
    text = f"{signal.subject}: {signal.strength:.2f} times the noise floor"
    return Dot(_x(signal.strength), y, signal.strength > 1, text)


def _x(strength: float) -> float:
    return round(LEFT + (WIDTH - LEFT - 20) * _share(strength), 1)


def _share(strength: float) -> float:
    """Return where a strength stands between the least and the most that is drawn, 0 to 1."""
    inside = min(max(strength, LEAST), MOST)
    return log10(inside / LEAST) / log10(MOST / LEAST)
