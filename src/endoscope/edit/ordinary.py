"""A model's own answers to ordinary prompts: what an edit is to leave as it is."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import compress
from pathlib import Path

from endoscope.behaviours import Item, read_items
from endoscope.behaviours.prompts import prompt_of
from endoscope.edit.passage import Passage, answered
from endoscope.engine import Model
from endoscope.engine.capture import Text
from endoscope.errors import InputError

TOKENS = 64  # of an answer, as many as a verification looks at
HERE = Path(str(files("endoscope.edit")))

Shows = Callable[[Sequence[str]], list[bool]]
"""Tells which answers show what is to go."""


def ordinary_answers(
    model: Model, shows: Shows, *, seed: int = 0, show: bool = False
) -> tuple[list[Passage], list[Passage]]:
    """Return what a model answers to ordinary prompts, none of which a verification asks.

    Args:
        model: that answers, sampled at temperature 1.
        shows: tells which answers show what is to go.
        seed: of what is sampled.
        show: whether to show progress.

    Returns:
        Those of half of the answers in which what is to go does not show, to learn from; and all
        as they come, to search by. (What shows in few answers is seen in some of all.)

    Raises:
        InputError: the model answers none of them.
    """
    rows = read_items(HERE / "ordinary.jsonl")
    prompts = [prompt_of(model, Item(id=str(n), **row)) for n, row in enumerate(rows)]
    answers = model.generate(prompts, max_tokens=TOKENS, temperature=1.0, seed=seed, progress=show)
    half = len(prompts) // 2
    learned = plain_answers(model, prompts[:half], answers[:half], shows)
    everything = answered(model, prompts, answers)
    if not everything:
        raise InputError(
            f"{model.name} answers nothing to ordinary prompts.",
            "An edit is held to what a model answers; give one that does.",
        )
    return learned, everything


def plain_answers(
    model: Model, prompts: Sequence[Text], answers: Sequence[str], shows: Shows
) -> list[Passage]:
    """Return those answers in which what is to go does not show."""
    plain = [not one for one in shows(answers)]
    return answered(model, list(compress(prompts, plain)), list(compress(answers, plain)))
