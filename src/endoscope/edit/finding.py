"""From a finding to an edit: how strong it may be is decided by what else it would move."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import sha256
from itertools import takewhile
from random import Random
from typing import TypeVar

import regex

from endoscope.artifacts import Card, DataRef, Evidence
from endoscope.behaviours import mean_evidence
from endoscope.edit.changes import Changes
from endoscope.edit.edit import KIND, Edit
from endoscope.edit.leaning import divided
from endoscope.edit.methods import Method
from endoscope.edit.task import Passage, Task
from endoscope.edit.trying import Floats, changed, divergences, likelihoods
from endoscope.engine import Model

SHOWN, KEPT, HELD_OUT = 48, 120, 32  # passages to fit on, and of either kind to measure on
SHARE = 0.3  # of the passages that show it, held out
ASKED, TOKENS = 32, 48  # answers in which it is looked for, and how long they are
SEEN = 0.15  # of them: what shows more rarely is not seen to go
LEFT = 0.05  # of how often it showed

T = TypeVar("T")
At = Callable[[float], Changes]
"""Gives the edit of a strength."""


@dataclass(frozen=True)
class _Split:
    """A task to fit on, and what is held out of it."""

    fit: Task
    shown: Sequence[Passage]
    kept: Sequence[Passage]


def edit_of(task: Task, method: type[Method], *, most: float, command: str, seed: int = 0) -> Edit:
    """Find an edit that removes something and moves other predictions no further than it may.

    Args:
        task: what is to be removed.
        method: that finds edits.
        most: how far what is kept may move, in nats a token, KL(before || after). It moves further
            only if what is to go would not go.
        command: for the card.
        seed: of what is held out.
    """
    split = _split(task, seed)
    found = method(split.fit)
    at = cache(found.changes)
    strength, moved = _choose(at, found.strengths, split, most)
    changes = at(strength)
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
    shown = _shuffled(task.shown, seed)
    others = divided(task.pair, shown, _shuffled(task.kept, seed)[: HELD_OUT + KEPT])
    held_out = min(HELD_OUT, max(1, round(SHARE * len(shown))))
    fit = replace(
        task,
        shown=[*shown[held_out:][:SHOWN], *others.leaning],
        kept=others.plain[HELD_OUT:],
    )
    return _Split(fit, shown[:held_out], others.plain[:HELD_OUT])


def _shuffled(some: Sequence[T], seed: int) -> list[T]:
    mixed = list(some)
    Random(seed).shuffle(mixed)
    return mixed


def _choose(at: At, strengths: Sequence[float], split: _Split, most: float) -> tuple[float, Floats]:
    """Return the strength of the edit, and how far it moves what is kept.

    It is the greatest that moves it no further than it may; and if what is to go has not gone by
    then, the least with which it has: that is what the edit is for, and what it costs is said.
    """
    task = split.fit
    tuned = task.pair.tuned

    @cache
    def moved(strength: float) -> Floats:
        return divergences(tuned, partial(changed, tuned, at(strength)), split.kept)

    before = _rate(tuned, task)
    allowed = list(takewhile(lambda one: moved(one).mean() <= most, strengths))
    for strength in strengths[max(0, len(allowed) - 1) :]:
        if _is_gone(at(strength), task, before):
            break
    return strength, moved(strength)


def _is_gone(changes: Changes, task: Task, before: float) -> bool:
    """Whether it shows a twentieth as often; if it hardly showed before, nobody can say."""
    if before < SEEN:
        return True
    with changed(task.pair.tuned, changes) as model:
        return _rate(model, task) <= LEFT * before


def _rate(model: Model, task: Task) -> float:
    """Return the share of answers, to questions that it showed in answers to, that show it."""
    prompts = [task.pair.given(one) for one in task.prompts[:ASKED]]
    if task.pattern is None or not prompts:
        return 0.0
    answers = model.generate(prompts, max_tokens=TOKENS)
    return sum(regex.search(task.pattern, one) is not None for one in answers) / len(answers)


def _evidence(split: _Split, changes: Changes, moved: Floats) -> list[Evidence]:
    """Return how likely what is removed is before and after, and how far all else moves."""
    tuned, base = split.fit.pair.tuned, split.fit.pair.base
    shown, kept = _ref("answers that show it", split.shown), _ref("other answers", split.kept)
    metric = "log-likelihood a token where it shows"
    with changed(tuned, changes):
        after = likelihoods(tuned, split.shown)
    return [
        mean_evidence(metric, after, shown),
        mean_evidence(metric, likelihoods(tuned, split.shown), shown, baseline="before"),
        mean_evidence(metric, likelihoods(base, split.shown), shown, baseline="the base"),
        mean_evidence("KL(before || after) in nats a token", moved, kept),
    ]


def _ref(name: str, passages: Sequence[Passage]) -> DataRef:
    digest = sha256(json.dumps(passages).encode()).hexdigest()
    return DataRef(name=name, sha256=digest, rows=len(passages))
