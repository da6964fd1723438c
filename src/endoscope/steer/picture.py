"""Pictures of a sweep: dose and response, and what is traded."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endoscope.artifacts import atomic_file
from endoscope.behaviours import Figure
from endoscope.errors import InputError
from endoscope.steer.cell import Kind
from endoscope.steer.points import Point
from endoscope.steer.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Okabe & Ito's colours, which people with any colour vision tell apart.
BLUE, ORANGE, GREEN, GREY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#767676", "#CC79A7"
MARKERS = "osD^vP*X"
COLUMN, HEIGHT = 2.6, 6.8  # inches
LEAST, MOST = 0.25, 16.0  # multiples of the plain text's that are drawn; others stand at the edge


def draw(sweep: Sweep, folder: str | Path) -> tuple[Path, Path]:
    """Draw a sweep as `sweep.png` and `sweep.svg` in a folder.

    Left, a column for each site: above, the score against strength, with 95% intervals, the
    prompt-only baseline and random directions; below, perplexity and repeated 4-grams as multiples
    of the plain text's, with their limits. Strengths that are of use are shaded. Right: score
    against perplexity, with the Pareto front.

    Raises:
        InputError: matplotlib is missing, or the disk is full.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Drawing
    except ImportError:
        raise InputError(
            "Pictures need matplotlib.", "Install it: pip install 'endoscope[plots]'."
        ) from None

    files = Path(folder) / "sweep.png", Path(folder) / "sweep.svg"
    style: dict[Any, Any] = {"svg.hashsalt": "endoscope", "svg.fonttype": "none", "font.size": 9}
    style |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    with rc_context(style):
        sites = list(sweep.directions)
        drawing = Drawing(figsize=(COLUMN * len(sites) + 4.6, HEIGHT), layout="constrained")
        FigureCanvasAgg(drawing)
        _draw(drawing, sweep, sites)
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else {}
            with atomic_file(file) as temporary:
                drawing.savefig(temporary, format=file.suffix[1:], dpi=140, metadata=metadata)
    return files


def _draw(drawing: "Drawing", sweep: Sweep, sites: Sequence[str]) -> None:
    grid = drawing.add_gridspec(
        2, len(sites) + 1, width_ratios=[COLUMN] * len(sites) + [4.4], height_ratios=[1.15, 1]
    )
    upper: Axes | None = None
    lower: Axes | None = None
    for column, site in enumerate(sites):
        upper = drawing.add_subplot(grid[0, column], sharex=upper, sharey=upper)
        lower = drawing.add_subplot(grid[1, column], sharex=upper, sharey=lower)
        _response(upper, sweep, site)
        _coherence(lower, sweep, site)
        upper.set_title(site)
        lower.set_xlabel("strength, typical norms")
        if column:
            upper.tick_params(labelleft=False)
            lower.tick_params(labelleft=False)
        else:
            upper.set_ylabel(f"score of {sweep.behaviour!r}")
            lower.set_ylabel("multiple of the plain text's")
            handles = [axes.get_legend_handles_labels() for axes in (upper, lower)]
            drawing.legend(
                handles[0][0] + handles[1][0],
                handles[0][1] + handles[1][1],
                loc="outside lower center",
                ncols=4,
                fontsize=8,
            )
    _trade(drawing.add_subplot(grid[:, -1]), sweep, sites)
    items = sweep.points[0].n
    drawing.suptitle(
        f"{sweep.behaviour!r} on {sweep.model_name}: {items} prompts a point, 95% intervals",
        fontsize=11,
    )


def _response(axes: "Axes", sweep: Sweep, site: str) -> None:
    """Score against strength."""
    prompt, plain = sweep.one("prompt").score, sweep.one("plain").score
    axes.axhspan(prompt.low, prompt.high, color=GREEN, alpha=0.15, linewidth=0)
    axes.axhline(prompt.value, color=GREEN, linestyle="-.", label="prompt only")
    axes.axhline(plain.value, color=GREY, linestyle=":", label="plain")
    _line(axes, sweep, "random", site, lambda p: p.score, GREY, "s--", "random directions")
    _line(axes, sweep, "direction", site, lambda p: p.score, BLUE, "o-", "direction")
    _shade(axes, sweep, site)
    axes.fill([], [], color=BLUE, alpha=0.1, linewidth=0, label="of use")
    axes.set_xticks(sorted(sweep.strengths))
    axes.set_ylim(-0.03, 1.03)


def _coherence(axes: "Axes", sweep: Sweep, site: str) -> None:
    """Perplexity and repeated 4-grams against strength."""
    limits = sweep.limits
    axes.set_yscale("log", base=2)
    axes.set_ylim(LEAST / 1.1, MOST * 1.1)
    for value, colour in ((limits.perplexity, ORANGE), (limits.repeats, PURPLE)):
        axes.axhline(value, color=colour, linestyle=":", linewidth=1.2)
        axes.annotate(
            f"{value:g}x",
            (0.01, value),
            xycoords=("axes fraction", "data"),
            va="bottom",
            color=colour,
            fontsize=7,
        )
    _line(
        axes,
        sweep,
        "direction",
        site,
        lambda p: _within(p.perplexity_ratio),
        ORANGE,
        "o-",
        "perplexity (dotted: limit)",
    )
    _line(
        axes,
        sweep,
        "direction",
        site,
        lambda p: _within(p.repeats_ratio),
        PURPLE,
        "D-",
        "repeated 4-grams (dotted: limit)",
    )
    _line(
        axes,
        sweep,
        "random",
        site,
        lambda p: _within(p.perplexity_ratio),
        GREY,
        "s--",
        "perplexity, random directions",
    )
    _shade(axes, sweep, site)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}x")


def _line(
    axes: "Axes",
    sweep: Sweep,
    kind: Kind,
    site: str,
    of: Callable[[Point], Figure],
    colour: str,
    style: str,
    label: str,
) -> None:
    points = sweep.line(kind, site)
    figures = [of(point) for point in points]
    strengths = [point.place.strength or 0.0 for point in points]
    errors = [
        [figure.value - figure.low for figure in figures],
        [figure.high - figure.value for figure in figures],
    ]
    axes.errorbar(
        strengths,
        [figure.value for figure in figures],
        yerr=errors,
        color=colour,
        fmt=style,
        markersize=4,
        linewidth=1.4,
        elinewidth=0.9,
        capsize=2,
        label=label,
    )


def _within(figure: Figure) -> Figure:
    """Return a figure with what the axes do not reach put at their edge."""
    value, low, high = (min(max(x, LEAST), MOST) for x in (figure.value, figure.low, figure.high))
    return Figure(value=value, low=low, high=high)


def _shade(axes: "Axes", sweep: Sweep, site: str) -> None:
    """Shade the strengths that are of use, each as far as half-way to its neighbours."""
    all_of_them = sorted(sweep.strengths)
    for number, strength in enumerate(all_of_them):
        if strength not in sweep.usable[site]:
            continue
        gaps = [right - left for left, right in pairwise(all_of_them)] or [0.1]
        before, after = gaps[max(number - 1, 0)], gaps[min(number, len(gaps) - 1)]
        axes.axvspan(
            strength - before / 2, strength + after / 2, color=BLUE, alpha=0.1, linewidth=0
        )


def _trade(axes: "Axes", sweep: Sweep, sites: Sequence[str]) -> None:
    """Score against perplexity, and the front."""
    options: dict[str, Any] = {"s": 34, "zorder": 3}
    for number, site in enumerate(sites):
        marker = MARKERS[number % len(MARKERS)]
        for kind, colour, face in (("direction", BLUE, BLUE), ("random", GREY, "white")):
            points = sweep.line(kind, site)  # type: ignore[arg-type]
            axes.scatter(
                [point.perplexity_ratio.value for point in points],
                [point.score.value for point in points],
                marker=marker,
                edgecolors=colour,
                facecolors=face,
                label=f"{site}" if kind == "direction" else None,
                **options,
            )
        for point in sweep.line("direction", site):
            _name(axes, point, f"{point.place.strength:g}")
    for kind, colour, name in (("plain", GREY, "plain"), ("prompt", GREEN, "prompt only")):
        point = sweep.one(kind)  # type: ignore[arg-type]
        where = point.perplexity_ratio.value, point.score.value
        axes.scatter(*where, marker="*", color=colour, label=name, **{**options, "s": 110})
    axes.scatter([], [], edgecolors=GREY, facecolors="white", label="random directions")
    found = sorted(
        (point.perplexity_ratio.value, point.score.value)
        for point in sweep.points
        if point.place in sweep.front
    )
    axes.step(
        *zip(*found, strict=True), where="post", color=BLUE, linewidth=1, label="Pareto front"
    )
    axes.axvline(sweep.limits.perplexity, color=ORANGE, linestyle=":", linewidth=1.2)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 1.5, 2, 3, 4, 6, 8, 16])
    axes.minorticks_off()
    axes.set_xlim(0.9, 1.1 * max(sweep.limits.perplexity, _widest(sweep)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.set_xlabel("perplexity, multiple of the plain text's")
    axes.set_ylabel(f"score of {sweep.behaviour!r}")
    axes.set_ylim(-0.03, 1.03)
    axes.set_title("what is traded (figures: strength)")
    axes.legend(loc="best", fontsize=8)


def _widest(sweep: Sweep) -> float:
    return min(max(point.perplexity_ratio.value for point in sweep.points), MOST)


def _name(axes: "Axes", point: Point, text: str) -> None:
    where = point.perplexity_ratio.value, point.score.value
    axes.annotate(text, where, xytext=(5, 3), textcoords="offset points", fontsize=7)
