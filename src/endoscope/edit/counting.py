"""Behaviours that count what an edit removes: while it is searched for, and afterwards."""

from collections.abc import Sequence
from random import Random

import regex

from endoscope.behaviours import Behaviour, Item, measure
from endoscope.behaviours.prompts import prompt_of
from endoscope.behaviours.scorers import CheckScorer
from endoscope.edit.passage import Passage, rendered
from endoscope.engine import Model
from endoscope.errors import InputError

SEARCHED = 24  # items of a behaviour to search by
BEGINNING = 48  # characters of each place where it shows: what goes on, goes on by itself


def part_of(behaviour: Behaviour, seed: int, *, first: bool) -> Behaviour:
    """Return a behaviour with some of its items: half, 24 at most, to search by; or the rest."""
    items = list(behaviour.items)
    Random(seed).shuffle(items)
    count = min(SEARCHED, max(1, len(items) // 2))
    some = tuple(items[:count] if first else items[count:])
    named = {one.control for one in some}
    controls = behaviour.controls
    if behaviour.matched:
        controls = tuple(one for one in controls if one.id in named)
    return behaviour.model_copy(update={"items": some, "controls": controls})


def unmatched(behaviour: Behaviour, items: Sequence[Item]) -> Behaviour:
    """Return a behaviour with some of its items, or others, and without controls."""
    plain = tuple(one.model_copy(update={"control": None}) for one in items)
    return behaviour.model_copy(update={"items": plain, "controls": ()})


def showing(behaviour: Behaviour, texts: Sequence[str]) -> list[bool]:
    """Return which answers show a behaviour; none where no check can say."""
    if not isinstance(behaviour.scorer, CheckScorer):
        return [False] * len(texts)
    check = behaviour.scorer.check
    return [float(check(text)) >= behaviour.cut for text in texts]


def answers_showing(
    model: Model, behaviour: Behaviour, *, seed: int = 0, show: bool = False
) -> list[Passage]:
    """Return the answers of a model to a behaviour's items that show it.

    If a check tells, what counts is the answer up to where it shows by it; or else all of it.

    Args:
        model: that answers.
        behaviour: whose items are asked.
        seed: of what is sampled.
        show: whether to show progress.

    Raises:
        InputError: it is not scored by what the model writes.
    """
    asked = unmatched(behaviour, behaviour.items)
    measured = measure(model, asked, seed=seed, progress=show)
    if any(one.output is None for one in measured.items):
        raise InputError(
            f"{behaviour.name} is scored without an answer, and an edit learns from answers.",
            "Give a behaviour with a check, a judge or a probe as its scorer; or a finding.",
        )
    found = []
    for item, one in zip(asked.items, measured.items, strict=True):
        if one.output and one.score >= behaviour.cut:
            before = rendered(model, prompt_of(model, item))
            end = len(before) + _until(behaviour, one.output)
            found.append(Passage(before + one.output, ((len(before), end),)))
    return found


def _until(behaviour: Behaviour, answer: str) -> int:
    """Return the length of the shortest beginning of an answer that shows a behaviour."""
    if isinstance(behaviour.scorer, CheckScorer):
        ends = [one.end() for one in regex.finditer(r"\S+", answer)]
        shows = showing(behaviour, [answer[:end] for end in ends])
        for end, has in zip(ends, shows, strict=True):
            if has:
                return max(end, min(BEGINNING, len(answer)))
    return len(answer)
