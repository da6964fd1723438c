"""Behaviours that count what an edit removes: while it is searched for, and afterwards."""

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from endoscope.behaviours import Behaviour
from endoscope.behaviours.scorers import CheckScorer

SEARCHED = 24  # items of a behaviour to search by


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


def showing(behaviour: Behaviour, texts: Sequence[str]) -> NDArray[np.bool_]:
    """Return which answers show a behaviour, `[answers]`; none where no check can say."""
    if not isinstance(behaviour.scorer, CheckScorer):
        return np.zeros(len(texts), dtype=bool)
    check = behaviour.scorer.check
    return np.array([float(check(text)) >= behaviour.cut for text in texts], dtype=bool)
