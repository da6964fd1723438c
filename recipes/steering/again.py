"""Measure what a sweep chose again, with other random numbers, and put all of it together.

    python -m recipes.steering.again FOLDER --seeds 4

Where answers are sampled, one answer a prompt says little about rare things, such as repeats.
Nothing is chosen here: the held-out cells of the sweep in FOLDER are measured once a seed, at its
site and strength. `again.json` has the figures of all seeds together; intervals resample prompts,
and a prompt takes its answers of all seeds with it.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter

import endoscope
from endoscope.behaviours import Behaviour
from endoscope.directions import Direction
from endoscope.steer import Cell, Place, Point, Sweep
from endoscope.steer.cell import Writing
from endoscope.steer.measuring import Measuring
from endoscope.steer.points import point_of
from endoscope.steer.sweeping import neutral_items

POINTS = TypeAdapter(list[Point])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    args = parser.parse_args()
    points = again(args.folder, range(args.seeds))
    (args.folder / "again.json").write_bytes(POINTS.dump_json(points, indent=2))
    for point in points:
        print(
            f"{point.place}: score {point.score}, perplexity x {point.perplexity_ratio}, "
            f"repeats x {point.repeats_ratio}"
        )


def again(folder: Path, seeds: Sequence[int]) -> list[Point]:
    """Return the figures of the held-out cells over several seeds."""
    sweep = Sweep.model_validate_json((folder / "sweep.json").read_bytes())
    places = [point.place for point in sweep.held_out]
    kept = [list(cells(sweep, folder, places, seed)) for seed in seeds]
    pooled = [together(several) for several in zip(*kept, strict=True)]
    plain = next(cell for cell in pooled if cell.place.kind == "plain")
    return [point_of(cell, plain, sweep.seed) for cell in pooled]


def cells(sweep: Sweep, folder: Path, places: Sequence[Place], seed: int) -> Iterator[Cell]:
    """Yield the cells of one seed; each is kept as soon as it is measured."""
    model = endoscope.open(sweep.model_name, dtype=sweep.dtype)
    behaviour = Behaviour.load(sweep.behaviour)
    direction = Direction.load(folder / "directions" / str(sweep.chosen.site))
    measuring = Measuring(
        model=model,
        behaviour=behaviour,
        items={"held_out": behaviour.items[: sweep.held_out[0].n], "choosing": ()},
        directions={str(direction.site): direction},
        neutral=neutral_items(),
        instruction=sweep.instruction,
        positions=sweep.positions,
        random=sweep.random,
        seed=seed,
    )
    kept = folder / "again"
    kept.mkdir(exist_ok=True)
    for number, place in enumerate(places):
        file = kept / f"{seed}-{number}.json"
        if not file.is_file():
            file.write_text(measuring(place).model_dump_json(), encoding="utf-8")
        yield Cell.model_validate_json(file.read_bytes())


def together(several: Sequence[Cell]) -> Cell:
    """Return one cell whose prompts have the answers of all: mean scores, and sums of the rest."""
    scores = zip(*(cell.scores for cell in several), strict=True)
    writings = zip(*(cell.writings for cell in several), strict=True)
    return several[0].model_copy(
        update={
            "scores": tuple(sum(row) / len(row) for row in scores),
            "writings": tuple(map(_joined, writings)),
        }
    )


def _joined(writings: Sequence[Writing]) -> Writing:
    return Writing(
        text=writings[0].text,
        tokens=sum(one.tokens for one in writings),
        surprisal=sum(one.surprisal for one in writings),
        fourgrams=sum(one.fourgrams for one in writings),
        repeated=sum(one.repeated for one in writings),
    )


if __name__ == "__main__":
    main()
