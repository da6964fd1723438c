"""How likely the model holds each of several answers, whatever their order."""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict

from endoscope.behaviours.item import Item
from endoscope.behaviours.prompts import answer_after, extended, prompt_of
from endoscope.behaviours.scorers.base import Score
from endoscope.engine import Model
from endoscope.engine.capture import Text


class _Reading(NamedTuple):
    """One continuation to be read: of which item, for which of its answers (0: the matching)."""

    item: int
    answer: int
    prompt: Text
    continuation: str


class ChoicesScorer(BaseModel):
    """The probability of the answer that matches the behaviour, against the others.

    The answers are scored by their likelihood, never sampled. With `letters` they are shown as
    options, and the letter is read; every answer stands at every letter once and log-likelihoods
    are averaged over that, so that what the model thinks of letters and places cancels. (With two
    answers: both orders. Zheng et al. 2024, "Large language models are not robust multiple choice
    selectors".) With `free` the answers are not shown and are read as they are: they should be of
    one length, since every token costs likelihood.

    Args:
        form: `letters` or `free`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["choices"]
    form: Literal["letters", "free"] = "letters"

    def problem(self, item: Item) -> str | None:
        """Say why an item cannot be scored, if it cannot."""
        if item.matching is None or not item.others:
            return "choices need matching, one answer, and others, a list of answers"
        if not 2 <= len({item.matching, *item.others}) == 1 + len(item.others) <= 26:
            return "the answers have to differ, and be 26 at most"
        if item.messages is not None and item.messages[-1].role != "user":
            return "the last of the messages has to be the user's"
        return None

    def score(
        self, model: Model, items: Sequence[Item], *, seed: int, progress: bool
    ) -> list[Score]:
        """Return the probability of the matching answer of each item."""
        readings = [
            reading
            for number, item in enumerate(items)
            for reading in (self._letters if self.form == "letters" else self._free)(
                model, number, item
            )
        ]
        found = model.log_likelihood(
            [reading.prompt for reading in readings],
            [reading.continuation for reading in readings],
            progress=progress,
        )
        sums = [torch.zeros(1 + len(item.others), dtype=torch.float64) for item in items]
        for reading, value in zip(readings, found, strict=True):
            sums[reading.item][reading.answer] += value
        turns = [len(total) if self.form == "letters" else 1 for total in sums]
        return [
            Score(float(torch.softmax(total / n, dim=0)[0]))
            for total, n in zip(sums, turns, strict=True)
        ]

    def _free(self, model: Model, number: int, item: Item) -> list[_Reading]:
        prompt = prompt_of(model, item)
        return [
            _Reading(number, answer, prompt, answer_after(prompt, text))
            for answer, text in enumerate(_answers(item))
        ]

    def _letters(self, model: Model, number: int, item: Item) -> list[_Reading]:
        answers = _answers(item)
        readings = []
        for turn in range(len(answers)):
            shown = [(turn + place) % len(answers) for place in range(len(answers))]
            options = "\n".join(
                f"({letter}) {answers[answer]}"
                for letter, answer in zip(ascii_uppercase, shown, strict=False)
            )
            prompt = prompt_of(model, extended(item, f"\n\nOptions:\n{options}\n\nAnswer:"))
            readings += [
                _Reading(number, answer, prompt, answer_after(prompt, f"({letter})"))
                for letter, answer in zip(ascii_uppercase, shown, strict=False)
            ]
        return readings


def _answers(item: Item) -> list[str]:
    return [str(item.matching), *item.others]
