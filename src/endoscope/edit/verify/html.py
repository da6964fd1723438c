"""A verification as a page that needs no other file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from importlib.resources import files
from itertools import count
from math import ceil, floor, log1p, log10
from typing import NamedTuple

import regex
from jinja2 import Environment

from endoscope.artifacts import Card
from endoscope.behaviours import Figure
from endoscope.edit.verify.budget import Budget
from endoscope.edit.verify.verification import Attack, Baseline, Check, Verification

TITLES = {  # of the roles, in the order of the page; others follow under their own name
    "target": "What was to go",
    "wanted": "What was to stay",
    "predictions": "Predictions on neutral prompts",
    "text": "Plain prose",
    "capability": "What it is able to do",
    "other": "Other behaviours",
}
WHO = ("before", "after", "base")
FEW = 6  # checks of a role that hold are shown; more are folded
STEPS = 5  # between the ticks of a linear scale, at most
START, END, LANE = 24, 236, 20  # of the plot in a row, in pixels; each model has a lane
LEFT, RIGHT, TOP, BOTTOM = 64, 620, 14, 234  # of the values in a chart, in pixels
_STEPPED = regex.compile(r"(.+), (\d+) steps?")
_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"  # written without spaces: each character is a word
_WORD = regex.compile(rf"(?:[{_CJK}]|[^\W{_CJK}]+|[^\w\s])\s*|\s+")


class Scale(NamedTuple):
    """Where values stand.

    Attributes:
        ticks: values that are marked, from the least to the greatest that is drawn.
        start: where the least stands, in pixels.
        end: where the greatest stands, in pixels.
        warp: what grows evenly from start to end, such as the logarithm.
    """

    ticks: Sequence[float]
    start: float
    end: float
    warp: Callable[[float], float] = float

    def at(self, value: float) -> float:
        """Return where a value stands, in pixels; beyond the ticks it stands at the edge."""
        low, high = self.ticks[0], self.ticks[-1]
        inside = min(max(value, low), high)
        share = (self.warp(inside) - self.warp(low)) / (self.warp(high) - self.warp(low))
        return round(self.start + share * (self.end - self.start), 1)

    def marks(self, form: str = "{:g}") -> list[tuple[float, str]]:
        """Return where the ticks stand, and what is written there."""
        return [(self.at(one), form.format(one)) for one in self.ticks]


class Point(NamedTuple):
    """A figure in a plot.

    Attributes:
        name: whose it is: a model, or the number of a baseline.
        text: the figure, in digits.
        x: where it stands, in pixels.
        y: where it stands, in pixels.
        low: where its interval begins, along the axis of its scale; at the figure if it has none.
        high: where its interval ends.
    """

    name: str
    text: str
    x: float
    y: float
    low: float
    high: float


class Row(NamedTuple):
    """A check or an attack, and its figures: a lane a model."""

    of: Check | Attack
    points: list[Point]


class Group(NamedTuple):
    """Rows that are drawn on one scale.

    Attributes:
        title: what they are about.
        ticks: where the ticks stand, and what is written there.
        rows: what everybody is to see.
        folded: checks that hold, where there are many.
    """

    title: str
    ticks: list[tuple[float, str]]
    rows: list[Row]
    folded: list[Row]


class Chart(NamedTuple):
    """Figures against something else.

    Attributes:
        title: what is drawn.
        across: from left to right where ticks stand, and what is written there.
        up: the same from the bottom to the top.
        lines: points that belong together.
    """

    title: str
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]
    lines: list[list[Point]]


class Beside(NamedTuple):
    """Ways of editing: KL(before || after) against the share of the rise that is gone.

    Attributes:
        chart: a line of one point for each baseline that has a share, named by its number from 1.
        falls: where the share that the budget asks for stands.
        kl: where the divergence that it allows stands.
    """

    chart: Chart
    falls: float
    kl: float


class Piece(NamedTuple):
    """A part of a text, and whether the other text has something else there."""

    text: str
    changed: bool


def page(verification: Verification, card: Card) -> str:
    """Return a verification as a page: what holds, what comes back, what else could be done.

    Args:
        verification: what is shown.
        card: of the edit.
    """
    source = (files("endoscope.edit.verify") / "verify.html.jinja").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(source).render(
        verification=verification,
        card=card,
        broken=[one for one in verification.checks if not one.holds],
        groups=groups(verification.checks),
        attacks=_drawn("When somebody tries to bring it back", verification.attacks),
        courses=courses(verification.attacks),
        beside=beside(verification.baselines, verification.budget),
        samples=[(one, *compared(one.before, one.after)) for one in verification.samples],
        place={"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM, "lane": LANE},
    )


def groups(checks: Iterable[Check]) -> list[Group]:
    """Return checks by role, each role on a scale of its own."""
    roles: dict[str, list[Check]] = {role: [] for role in TITLES}
    for check in checks:
        roles.setdefault(check.role, []).append(check)
    return [_group(TITLES.get(role, role), some) for role, some in roles.items() if some]


def courses(attacks: Iterable[Attack]) -> list[Chart]:
    """Return a chart of each attack that was made with several numbers of steps."""
    found: dict[str, dict[int, Attack]] = {}
    for attack in attacks:
        if match := _STEPPED.fullmatch(attack.name):
            found.setdefault(match[1], {})[int(match[2])] = attack
    return [_course(name, some) for name, some in found.items() if len(some) > 1]


def beside(baselines: Sequence[Baseline], budget: Budget) -> Beside:
    """Place ways of editing by what is gone and by how far predictions moved."""
    falls = budget.target.falls
    known = {str(n): one for n, one in enumerate(baselines, 1) if one.share is not None}
    shares = {name: one.share or 0.0 for name, one in known.items()}
    across = Scale(linear([0.0, 1.0, *shares.values()]), LEFT, RIGHT)
    moved = [end for one in known.values() for end in (one.kl.value, one.kl.high)]
    up = Scale(decades([budget.kl, *moved]), BOTTOM, TOP, log10)
    lines = [
        [_point(name, str(one), across.at(shares[name]), one.kl, up)] for name, one in known.items()
    ]
    chart = Chart("Ways of editing", across.marks("{:.0%}"), up.marks(), lines)
    return Beside(chart, across.at(falls), up.at(budget.kl))


def compared(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """Return both texts in pieces, word by word: what both have, and what one alone has."""
    left, right = _WORD.findall(before), _WORD.findall(after)
    bare, other = ([word.rstrip() for word in words] for words in (left, right))
    steps = SequenceMatcher(None, bare, other, autojunk=False).get_opcodes()
    return (
        [Piece("".join(left[a:b]), what != "equal") for what, a, b, _, _ in steps if a < b],
        [Piece("".join(right[a:b]), what != "equal") for what, _, _, a, b in steps if a < b],
    )


def linear(values: Sequence[float]) -> list[float]:
    """Return round ticks around values; zero is one of them unless all are far above it."""
    least, most = min(values), max(values)
    if 0 < least <= most / 2:
        least = 0.0
    step = _round_step((most - least) / STEPS or 1 / STEPS)
    first, last = floor(least / step), ceil(most / step)
    return [step * n for n in range(first, max(last, first + 1) + 1)]


def decades(values: Iterable[float]) -> list[float]:
    """Return the powers of ten around those values that are above zero."""
    logs = [log10(one) for one in values if one > 0] or [0.0]
    first, last = floor(min(logs)), ceil(max(logs))
    return [10.0**n for n in range(first, max(last, first + 1) + 1)]


def _round_step(least: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, ... and their decimal fractions."""
    power: float = 10.0 ** floor(log10(least))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least)


def _group(title: str, checks: Sequence[Check]) -> Group:
    group = _drawn(title, checks)
    fold = sum(one.holds for one in checks) > FEW
    folds = [fold and one.holds for one in checks]
    pairs = list(zip(group.rows, folds, strict=True))
    return group._replace(
        rows=[row for row, folded in pairs if not folded],
        folded=[row for row, folded in pairs if folded],
    )


def _drawn(title: str, lines: Sequence[Check | Attack]) -> Group:
    """Draw the figures of checks or attacks on one scale."""
    scale = Scale(linear(_ends(lines) or [0.0]), START, END)
    rows = [Row(one, _lanes(_figures(one), scale)) for one in lines]
    return Group(title, scale.marks(), rows, [])


def _lanes(figures: Mapping[str, Figure], scale: Scale) -> list[Point]:
    return [
        Point(who, _digits(one), scale.at(one.value), y, scale.at(one.low), scale.at(one.high))
        for y, (who, one) in zip(count(LANE / 2, LANE), figures.items(), strict=False)
    ]


def _digits(figure: Figure) -> str:
    return str(figure) if figure.low < figure.high else f"{figure.value:.3f}"


def _course(title: str, attacks: Mapping[int, Attack]) -> Chart:
    """Draw figures by steps; more steps stand closer, as they are often doubled."""
    across = Scale(sorted(attacks), LEFT, RIGHT, log1p)
    up = Scale(linear(_ends(attacks.values())), BOTTOM, TOP)
    lines: dict[str, list[Point]] = {who: [] for who in WHO}
    for steps, attack in sorted(attacks.items()):
        for who, one in _figures(attack).items():
            said = f"{who}, {steps} steps: {_digits(one)}"
            lines[who].append(_point(who, said, across.at(steps), one, up))
    return Chart(title, across.marks(), up.marks(), [line for line in lines.values() if line])


def _point(name: str, text: str, x: float, figure: Figure, up: Scale) -> Point:
    return Point(name, text, x, up.at(figure.value), up.at(figure.low), up.at(figure.high))


def _figures(one: Check | Attack) -> dict[str, Figure]:
    """Return the figures of each model that has one."""
    found = {who: getattr(one, who) for who in WHO}
    return {who: _figure(value) for who, value in found.items() if value is not None}


def _figure(value: Figure | float) -> Figure:
    """Return a figure; a value without an interval is one of no width."""
    if isinstance(value, Figure):
        return value
    return Figure(value=value, low=value, high=value)


def _ends(lines: Iterable[Check | Attack]) -> list[float]:
    return [
        end for one in lines for some in _figures(one).values() for end in (some.low, some.high)
    ]
