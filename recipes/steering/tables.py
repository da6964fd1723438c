"""The tables of docs/steering.md, from the JSON beside it.

python -m recipes.steering.tables
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from endoscope.steer import Point, Sweep

Row = dict[str, Any]


def main() -> None:
    write_tables(Path("docs/steering.md"), Path("docs/steering"))


def write_tables(page: Path, folder: Path) -> None:
    """Replace what stands between the marks of the tables on the page."""
    text = page.read_text(encoding="utf-8")
    tables: dict[str, Callable[[], Iterable[str]]] = {
        "held-out": lambda: held_out([load(folder, name) for name in ("sea", "personal")]),
        "again": lambda: again(folder / "personal-again.json"),
        "persona": lambda: persona(rows(folder / "persona.json")),
        "concepts": lambda: concepts(rows(folder / "concepts.json")),
    }
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        table = "".join(f"{line}\n" for line in lines())
        text = before + begin + table + end + rest.partition(end)[2]
    page.write_text(text, encoding="utf-8")


def load(folder: Path, name: str) -> Sweep:
    """Read a sweep that lies beside others under its own name."""
    return Sweep.model_validate_json((folder / f"{name}.json").read_bytes())


def rows(path: Path) -> list[Row]:
    found: list[Row] = json.loads(path.read_bytes())["rows"]
    return found


def held_out(sweeps: Iterable[Sweep]) -> Iterable[str]:
    """Yield a table of the chosen site and strength on held-out prompts."""
    yield "| behaviour | | share that passes | perplexity | repeated 4-grams | KL, nats a token |"
    yield "|---|---|---|---|---|---|"
    for sweep in sweeps:
        randoms = [point for point in sweep.held_out if point.place.kind == "random"]
        where = f"{sweep.chosen.site} x {sweep.chosen.strength:g}"
        named = [
            ("plain", sweep.one("plain", held_out=True)),
            ("prompt only", sweep.one("prompt", held_out=True)),
            (f"direction, {where}", sweep.one("direction", held_out=True)),
            *((f"random {point.place.number}", point) for point in randoms),
        ]
        for name, point in named:
            yield f"| {sweep.behaviour} | {name} | {_point(point)} |"


def again(path: Path) -> Iterable[str]:
    """Yield a table of what was measured again, with how far the score rose."""
    yield "| | share that passes | rise, points | perplexity | repeated 4-grams |"
    yield "|---|---|---|---|---|"
    for row in json.loads(path.read_bytes()):
        point = Point.model_validate(row)
        place = point.place
        name = place.kind if place.number is None else f"{place.kind} {place.number}"
        share, perplexity, repeats, _ = _point(point).split(" | ")
        rise = points(point.rise.model_dump())
        yield f"| {name} | {share} | {rise} | {perplexity} | {repeats} |"


def _point(point: Point) -> str:
    score, kl = point.score, "" if point.kl is None else f"{point.kl.value:.2f}"
    cells = [
        f"{100 * score.value:.0f}% [{100 * score.low:.0f}, {100 * score.high:.0f}]",
        f"{point.perplexity:.2f} ({point.perplexity_ratio.value:.2f}x)",
        f"{100 * point.repeats:.1f}% ({point.repeats_ratio.value:.2f}x "
        f"[{point.repeats_ratio.low:.1f}, {point.repeats_ratio.high:.1f}])",
        kl,
    ]
    return " | ".join(cells)


def persona(found: Iterable[Row]) -> Iterable[str]:
    """Yield a table of how far the probability of the matching answer rose."""
    listed = list(found)
    strengths = [key.split()[1] for key in listed[0] if key.startswith("direction")]
    heads = [f"{what} {s}" for s in strengths for what in ("direction x", "random x")]
    yield f"| trait | plain | prompt only | {' | '.join(heads)} |"
    yield "|---" * (3 + len(heads)) + "|"
    for row in listed:
        cells = [f"{100 * row['plain']['value']:.1f}%", points(row["prompt"])]
        for strength in strengths:
            randoms = [row[key] for key in row if re.fullmatch(rf"random \d+ {strength}", key)]
            cells += [points(row[f"direction {strength}"]), spread(randoms)]
        yield f"| {row['trait']} | {' | '.join(cells)} |"


def concepts(found: Iterable[Row]) -> Iterable[str]:
    """Yield a table of what gained likelihood, and of whose words came up."""
    yield (
        "| concept | likelihood, nats a token | random | words: plain | direction | prompt only "
        "| random | perplexity |"
    )
    yield "|---" * 8 + "|"
    for row in found:
        cells = [
            f"{row['concept']}: {row['name']}",
            _nats(row["likelihood"]),
            " to ".join(
                f"{f(x['value'] for x in row['likelihood random']):+.2f}" for f in (min, max)
            ),
            f"{100 * row['plain']['value']:.0f}%",
            points(row["direction"]),
            points(row["prompt"]),
            spread(row["random"]),
            f"{row['perplexity_ratio']:.2f}x",
        ]
        yield f"| {' | '.join(cells)} |"


def points(figure: Row) -> str:
    """Return a rise in percentage points, with its interval."""
    value, low, high = (100 * figure[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def spread(figures: list[Row]) -> str:
    """Return the least and the greatest of some rises, in percentage points."""
    values = [100 * figure["value"] for figure in figures]
    return f"{min(values):+.1f} to {max(values):+.1f}"


def _nats(figure: Row) -> str:
    return f"{figure['value']:+.2f} [{figure['low']:+.2f}, {figure['high']:+.2f}]"


if __name__ == "__main__":
    main()
