"""How far predictions move on the model's own answers to neutral prompts."""

import json
from collections.abc import Sequence
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import RootModel

from endoscope.behaviours import Behaviour, read_items
from endoscope.behaviours.item import Item
from endoscope.behaviours.prompts import prompt_of
from endoscope.behaviours.scorers import CheckScorer
from endoscope.edit.passage import Passage, answered
from endoscope.edit.trying import Divergences, Floats, Runs
from endoscope.edit.verify.subjects import Subjects
from endoscope.engine.capture import Text

TOKENS = 64  # of an answer to a neutral prompt
HERE = Path(str(files("endoscope.edit.verify")))


class _Answers(RootModel[list[str]]):
    """What a model answers to prompts."""


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
        return self._all(after)

    def moved_at_first(self, after: Runs) -> Floats:
        """Return the same at the first token of each answer."""
        first = [one.opening for one in self._passages]
        return Divergences(self._subjects.before, first)(after)

    def showing(self, behaviour: Behaviour) -> NDArray[np.bool_]:
        """Return which answers show a behaviour, `[answers]`; none where no check can say."""
        texts = [one.text[slice(*one.spans[0])] for one in self._passages]
        if not isinstance(behaviour.scorer, CheckScorer):
            return np.zeros(len(texts), dtype=bool)
        check = behaviour.scorer.check
        return np.array([float(check(text)) >= behaviour.cut for text in texts])

    @cached_property
    def _all(self) -> Divergences:
        return Divergences(self._subjects.before, self._passages)

    @cached_property
    def _passages(self) -> list[Passage]:
        model = self._subjects.before
        rows = read_items(HERE / "neutral.jsonl")
        prompts = [prompt_of(model, Item(id=str(n), **one)) for n, one in enumerate(rows)]
        return answered(model, prompts, self._answers(prompts))

    def _answers(self, prompts: Sequence[Text]) -> list[str]:
        """Return what the model before the edit answers, at temperature 1; kept."""
        subjects = self._subjects
        model = subjects.before
        generate = partial(
            model.generate,
            prompts,
            max_tokens=TOKENS,
            temperature=1.0,
            seed=subjects.seed,
            progress=subjects.show,
        )
        about = f"{model.fingerprint.digest} {json.dumps(prompts)} {TOKENS}"
        return subjects.once(_Answers, "neutral", about, lambda: _Answers(generate())).root
