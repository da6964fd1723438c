"""How far predictions move on the model's own answers to neutral prompts."""

import json
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from endoscope.behaviours import Behaviour, read_items
from endoscope.behaviours.item import Item
from endoscope.behaviours.prompts import prompt_of
from endoscope.edit.counting import showing
from endoscope.edit.ordinary import TOKENS
from endoscope.edit.passage import Passage, answered
from endoscope.edit.trying import Divergences, Floats, Runs
from endoscope.edit.verify.subjects import Subjects

PART = 25  # answers on which predictions are compared at once: what is kept of work in between
HERE = Path(str(files("endoscope.edit.verify")))


class Neutral:
    """Answers of the model before an edit to 200 neutral prompts of our own.

    Args:
        subjects: the models.
    """

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects

    def moved(self, after: Runs) -> Floats:
        """Return how far another model's predictions are from those of the model before the edit.

        Args:
            after: runs the other model.

        Returns:
            KL(before || after) of each answer, in nats a token, `[answers]`.
        """
        return np.concatenate([part(after) for part in self.parts])

    def moved_at_first(self, after: Runs) -> Floats:
        """Return the same at the first token of each answer."""
        first = [one.opening for one in self._passages]
        return Divergences(self._subjects.before, first)(after)

    def showing(self, behaviour: Behaviour) -> NDArray[np.bool_]:
        """Return which answers show a behaviour, `[answers]`; none where no check can say."""
        answers = [one.text[slice(*one.spans[0])] for one in self._passages]
        return np.array(showing(behaviour, answers), dtype=bool)

    @cached_property
    def parts(self) -> list[Divergences]:
        """From the model before the edit, on the answers in order, a part of them each."""
        some = self._passages
        parts = [some[start : start + PART] for start in range(0, len(some), PART)]
        return [Divergences(self._subjects.before, part) for part in parts]

    @cached_property
    def digest(self) -> str:
        """A hash of what is asked and answered."""
        return sha256(json.dumps(self._passages).encode()).hexdigest()

    @cached_property
    def _passages(self) -> list[Passage]:
        subjects = self._subjects
        rows = read_items(HERE / "neutral.jsonl")
        items = [Item(id=str(n), **one) for n, one in enumerate(rows)]
        prompts = [prompt_of(subjects.before, one) for one in items]
        return answered(subjects.before, prompts, subjects.answers("neutral", items, TOKENS))
