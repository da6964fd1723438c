"""A model's own answers to ordinary prompts: what an edit is to leave as it is."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import compress
from pathlib import Path

from endoscope.behaviours import Item, read_items
from endoscope.behaviours.prompts import prompt_of
from endoscope.edit.division import Division
from endoscope.edit.passage import Passage, answered
from endoscope.engine import Model
from endoscope.engine.capture import Text
from endoscope.errors import InputError

TOKENS = 64  # of an answer
LEAST = 8  # answers to tell by what an edit moves
PROMPTS = Path(str(files("endoscope.edit"))) / "ordinary.jsonl"

Shows = Callable[[Sequence[str]], list[bool]]
"""Tells which answers show what is to go."""


def ordinary_answers(
    model: Model, division: Division, shows: Shows, *, seed: int = 0, show: bool = False
) -> tuple[list[Passage], list[Passage]]:
    """Return what a model answers to ordinary prompts, sampled at temperature 1.

    Args:
        model: that answers.
        division: says what verifies: that is not asked.
        shows: tells which answers show what is to go.
        seed: of what is sampled.
        show: whether to show progress.

    Returns:
        Of half of the answers those in which what is to go is not seen, to learn from; and all as
        they come, to search by: what shows in few of them would hardly be met in half.

    Raises:
        InputError: the model answers too few.
    """
    rows = read_items(PROMPTS)
    items = division.allowed(Item(id=str(n), **row) for n, row in enumerate(rows))
    prompts = [prompt_of(model, item) for item in items]
    answers = model.generate(prompts, max_tokens=TOKENS, temperature=1.0, seed=seed, progress=show)
    everything = answered(model, prompts, answers)
    if len(everything) < LEAST:
        raise InputError(
            f"{model.name} answers {len(everything)} of {len(prompts)} ordinary prompts; {LEAST} "
            "are needed to tell what an edit moves.",
            "Give a model that answers questions in its chat template.",
        )
    half = len(prompts) // 2
    return plain_answers(model, prompts[:half], answers[:half], shows), everything


def plain_answers(
    model: Model, prompts: Sequence[Text], answers: Sequence[str], shows: Shows
) -> list[Passage]:
    """Return those answers in which what is to go is not seen."""
    plain = [not one for one in shows(answers)]
    return answered(model, list(compress(prompts, plain)), list(compress(answers, plain)))
