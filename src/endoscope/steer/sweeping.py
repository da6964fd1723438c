"""The sweep: every layer and strength, the controls beside them, and the end on other prompts."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from math import isfinite
from pathlib import Path
from random import Random
from typing import Any

from endoscope.artifacts import check_model
from endoscope.behaviours import Behaviour, Item
from endoscope.behaviours.behaviour import read_items, shipped_behaviours
from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions.operations import Positions
from endoscope.progress import progress as progress_bar
from endoscope.steer.cell import Cell, Kind, Place, Split
from endoscope.steer.controls import default_instruction
from endoscope.steer.journal import Journal
from endoscope.steer.measuring import Measuring
from endoscope.steer.points import Point, point_of
from endoscope.steer.ranges import Limits, best, front, usable
from endoscope.steer.sweep import Sweep

STRENGTHS = (0.1, 0.15, 0.2, 0.25)
NEUTRAL = 16  # prompts that KL is measured on
RANDOM = 4  # random directions
MOST = 32  # items of a split
_TRADED = ("plain", "direction")


def sweep(
    model: Model,
    directions: Direction | Sequence[Direction],
    behaviour: Behaviour,
    *,
    strengths: Sequence[float] = STRENGTHS,
    positions: Positions = "all",
    choosing: Sequence[Item] | None = None,
    most: int = MOST,
    instruction: str | None = None,
    random: int = RANDOM,
    limits: Limits | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    command: str = "made from Python",
    progress: bool = False,
) -> Sweep:
    """Measure what adding a direction does to a behaviour and to the text.

    On the prompts for choosing: the plain model, the model with an instruction and nothing else,
    and for each direction and strength the direction and random directions of the same norm (which
    take turns over the prompts). The strength and the site that do best there are then measured on
    the held-out prompts, with the same controls and each random direction by itself.

    Args:
        model: without interventions.
        directions: one, or one for each site (`Direction.fit_at`).
        behaviour: what is measured.
        strengths: in typical norms of the site.
        positions: where they are added: `all`, `prompt`, `generated`, or absolute indices.
        choosing: items to choose on, so that all of the behaviour's are held out; a random half of
            the behaviour's if left out.
        most: items of either kind at most.
        instruction: what asks for the behaviour, as a system prompt; from the behaviour's
            description if left out.
        random: how many random directions.
        limits: when steering counts as of use.
        folder: where cells are kept as soon as they are measured: the same call goes on there.
        seed: of everything random.
        command: what the record says of where it came from.
        progress: show a bar.

    Raises:
        InputError: something does not fit together, or the folder holds another sweep.

    Example:
        >>> found = sweep(model, Direction.fit_at(model, source, sites), Behaviour.load("sea"))
        >>> found.save("sea-sweep")
    """
    listed = [directions] if isinstance(directions, Direction) else list(directions)
    _check(model, listed, strengths, random)
    items = _split(behaviour, choosing, most, seed)
    measuring = Measuring(
        model=model,
        behaviour=behaviour,
        items=items,
        directions={str(one.site): one for one in listed},
        neutral=neutral_items(),
        instruction=instruction or default_instruction(behaviour),
        positions=positions,
        random=random,
        seed=seed,
    )
    limits = limits or Limits()
    settings = _settings(measuring, strengths)
    place = None if folder is None else Path(folder)
    with Journal.open(place, settings) as journal:
        first = list(_first(measuring.directions, strengths))
        total = len(first) + (3 + random) * bool(items["held_out"])
        with progress_bar("Measuring cells", total, show=progress) as advance:
            cells = _cells(measuring, journal, advance)
            points = _points(cells(first), seed)
            chosen = best(points, limits)
            second = _second(chosen, random) if items["held_out"] else ()
            held_out = _points(cells(second), seed)
    return Sweep(
        behaviour=behaviour.name,
        behaviour_sha256=behaviour.sha256,
        description=behaviour.description,
        scorer=behaviour.scorer.kind,
        model=model.fingerprint,
        model_name=model.name,
        adapter=model.adapter,
        dtype=str(model.dtype).removeprefix("torch."),
        directions={site: one.name for site, one in measuring.directions.items()},
        strengths=tuple(strengths),
        positions=positions,
        instruction=measuring.instruction,
        random=random,
        limits=limits,
        points=points,
        held_out=held_out,
        usable=usable(points, limits),
        front=tuple(p.place for p in front([p for p in points if p.place.kind in _TRADED])),
        chosen=chosen.place,
        seed=seed,
        command=command,
    )


def _cells(
    measuring: Measuring, journal: Journal, advance: Callable[[int], None]
) -> Callable[[Sequence[Place]], list[Cell]]:
    """Return what gives the cells at places: as they were measured before, or measured now."""

    def one(place: Place) -> Cell:
        cell = journal.get(place)
        if cell is None:
            cell = measuring(place)
            journal.add(cell)
        advance(1)
        return cell

    return lambda places: [one(place) for place in places]


def _first(directions: dict[str, Direction], strengths: Sequence[float]) -> Iterator[Place]:
    yield Place(split="choosing", kind="plain")
    yield Place(split="choosing", kind="prompt")
    kinds: tuple[Kind, ...] = ("direction", "random")
    for kind in kinds:
        for site in directions:
            for strength in strengths:
                yield Place(split="choosing", kind=kind, site=site, strength=strength)


def _second(chosen: Point, random: int) -> list[Place]:
    there = chosen.place.model_copy(update={"split": "held_out"})
    return [
        Place(split="held_out", kind="plain"),
        Place(split="held_out", kind="prompt"),
        there,
        *(there.model_copy(update={"kind": "random", "number": i}) for i in range(random)),
    ]


def _points(cells: Sequence[Cell], seed: int) -> tuple[Point, ...]:
    """Return figures beside the plain model's, which is the first cell."""
    return tuple(point_of(cell, cells[0], seed) for cell in cells)


def _split(
    behaviour: Behaviour, choosing: Sequence[Item] | None, most: int, seed: int
) -> dict[Split, tuple[Item, ...]]:
    shuffled = list(behaviour.items)
    Random(seed).shuffle(shuffled)
    if choosing is None:
        half = min(most, max(1, len(shuffled) // 2))
        first, second = shuffled[:half], shuffled[half : half + most]
    else:
        known = {item.model_dump_json(exclude={"id"}) for item in behaviour.items}
        if any(item.model_dump_json(exclude={"id"}) in known for item in choosing):
            raise InputError(
                "Items to choose on are among those that are held out.", "Give other ones."
            )
        first, second = list(choosing)[:most], shuffled[:most]
    for item in first:
        if (problem := behaviour.scorer.problem(item)) is not None:
            raise InputError(f"Item {item.id} cannot be scored: {problem}.")
    return {"choosing": tuple(first), "held_out": tuple(second)}


def neutral_items() -> tuple[Item, ...]:
    """Return the prompts that have nothing to do with any behaviour, on which KL is measured."""
    rows = read_items(shipped_behaviours()["sea"].parent / "choosing.jsonl")
    return tuple(Item.model_validate(row) for row in rows[:NEUTRAL])


def _settings(measuring: Measuring, strengths: Sequence[float]) -> dict[str, Any]:
    """Return all that decides what a cell is."""
    items = {
        split: [item.model_dump(mode="json", exclude_defaults=True) for item in listed]
        for split, listed in measuring.items.items()
    }
    directions = {
        site: sha256(one.vector.numpy().tobytes()).hexdigest()
        for site, one in measuring.directions.items()
    }
    return {
        "model": measuring.model.fingerprint.digest,
        "dtype": str(measuring.model.dtype),
        "behaviour": measuring.behaviour.sha256,
        "items": sha256(repr(items).encode()).hexdigest(),
        "neutral": sha256(repr(measuring.neutral).encode()).hexdigest(),
        "directions": directions,
        "strengths": list(strengths),
        "positions": measuring.positions,
        "instruction": measuring.instruction,
        "random": measuring.random,
        "seed": measuring.seed,
    }


def _check(
    model: Model, directions: Sequence[Direction], strengths: Sequence[float], random: int
) -> None:
    if model.interventions:
        raise InputError("The model is changed already.", "Sweep outside of `intervene`.")
    if not directions or len({one.site for one in directions}) < len(directions):
        raise InputError(
            "A sweep takes one direction a site, and one at least.",
            "Fit them with Direction.fit_at.",
        )
    for one in directions:
        one.vector  # noqa: B018 - refuses a subspace
        check_model(one.card.model, model.fingerprint, f"The direction {one.name}")
        model.loaded.anatomy.check(one.site)
    if not strengths or len(set(strengths)) < len(strengths):
        raise InputError("A sweep takes different strengths, and one at least.")
    if not all(isfinite(strength) and strength != 0 for strength in strengths):
        raise InputError("A strength is 0 or no number.", "The plain model is measured anyway.")
    if random < 1:
        raise InputError("There has to be a random direction.", "Give 1 or more; 3 tell more.")
