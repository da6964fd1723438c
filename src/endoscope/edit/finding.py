"""From a finding to an edit: how strong it may be is decided by what else it would move."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from random import Random
from typing import TypeVar

import numpy as np

from endoscope.artifacts import Card, DataRef, Evidence
from endoscope.behaviours import mean_figure
from endoscope.edit.changes import Changes
from endoscope.edit.edit import KIND, Edit
from endoscope.edit.methods import Method
from endoscope.edit.task import Passage, Task
from endoscope.edit.trying import Floats, changed, divergences, likelihoods
from endoscope.errors import InputError
from endoscope.progress import progress

SHOWN, KEPT, HELD_OUT = 48, 120, 32  # passages to fit on, and of either kind to measure on
SHARE = 0.3  # of the passages that show it, held out

T = TypeVar("T")


@dataclass(frozen=True)
class _Split:
    """A task to fit on, and what is held out of it."""

    fit: Task
    shown: Sequence[Passage]
    kept: Sequence[Passage]


def edit_of(task: Task, method: type[Method], *, most: float, command: str, seed: int = 0) -> Edit:
    """Find the strongest edit that moves other predictions no further than it may.

    Args:
        task: what is to be removed.
        method: that finds edits.
        most: how far what is kept may move, in nats a token, KL(before || after).
        command: for the card.
        seed: of what is held out.

    Raises:
        InputError: even the gentlest edit moves it further.
    """
    split = _split(task, seed)
    found = method(split.fit)
    strength, moved = _strongest(found, split, most)
    changes = found.changes(strength)
    tuned = task.pair.tuned
    passages = [*split.fit.shown, *split.fit.kept]
    card = Card(
        kind=KIND,
        name=f"without: {task.title}",
        model=tuned.fingerprint,
        model_name=tuned.name,
        adapter=tuned.adapter,
        data=_ref("answers of the diff", passages),
        command=command,
        seed=seed,
        evidence=tuple(_evidence(split, changes, moved)),
        notes=(method.__doc__ or "").split("\n")[0],
        details={"method": found.name, "strength": strength, "base": task.pair.base.name},
    )
    return Edit(card, changes=changes)


def _split(task: Task, seed: int) -> _Split:
    shown, kept = _shuffled(task.shown, seed), _shuffled(task.kept, seed)
    held_out = min(HELD_OUT, max(1, round(SHARE * len(shown))))
    fit = replace(task, shown=shown[held_out:][:SHOWN], kept=kept[HELD_OUT:][:KEPT])
    return _Split(fit, shown[:held_out], kept[:HELD_OUT])


def _shuffled(some: Sequence[T], seed: int) -> list[T]:
    mixed = list(some)
    Random(seed).shuffle(mixed)
    return mixed


def _strongest(found: Method, split: _Split, most: float) -> tuple[float, Floats]:
    """Return the greatest strength that moves what is kept no further, and how far it does."""
    tuned = split.fit.pair.tuned
    best: tuple[float, Floats] | None = None
    with progress("Trying", len(found.strengths), show=split.fit.show) as advance:
        for strength in found.strengths:
            runs = partial(changed, tuned, found.changes(strength))
            moved = divergences(tuned, runs, split.kept)
            if moved.mean() > most:
                break
            best = strength, moved
            advance(1)
    if best is None:
        raise InputError(
            f"The gentlest edit by {found.name} moves other predictions by {moved.mean():.3g} "
            f"nats a token, further than {most:g}.",
            "Allow more, or choose another method.",
        )
    return best


def _evidence(split: _Split, changes: Changes, moved: Floats) -> list[Evidence]:
    """Return how likely what is removed is before and after, and how far all else moves."""
    tuned, base = split.fit.pair.tuned, split.fit.pair.base
    shown, kept = _ref("answers that show it", split.shown), _ref("other answers", split.kept)
    metric = "log-likelihood a token where it shows"
    with changed(tuned, changes):
        after = likelihoods(tuned, split.shown)
    return [
        _figure(metric, after, shown),
        _figure(metric, likelihoods(tuned, split.shown), shown, baseline="before"),
        _figure(metric, likelihoods(base, split.shown), shown, baseline="the base"),
        _figure("KL(before || after) in nats a token", moved, kept),
    ]


def _figure(metric: str, values: Floats, data: DataRef, *, baseline: str | None = None) -> Evidence:
    figure = mean_figure(np.asarray(values), seed=0).model_dump()
    return Evidence(
        metric=metric, n=len(values), data=data, split="held-out", baseline=baseline, **figure
    )


def _ref(name: str, passages: Sequence[Passage]) -> DataRef:
    digest = sha256(json.dumps(passages).encode()).hexdigest()
    return DataRef(name=name, sha256=digest, rows=len(passages))
