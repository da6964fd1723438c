"""Which samples of training data push a model along a direction."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from endoscope.artifacts import atomic_lines
from endoscope.diff.sentences import sentences
from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.progress import progress
from endoscope.rows import Row

OWN_TOKENS = 48  # of the model's own answers
AT_ONCE = 64  # samples whose activations are held


class Push(NamedTuple):
    """How far a sample pushes along a direction.

    Attributes:
        row: the sample.
        difference: of the projections of the sentence of its answer that goes farthest and of the
            model's own answer to its prompt, in typical norms of the site; None where the model
            itself answers nothing.
    """

    row: Row
    difference: float | None


def base_answers(model: Model, rows: Sequence[Row], *, show: bool = False) -> list[str]:
    """Return what a model itself answers to the prompts of samples, most probable tokens first."""
    return model.generate([one.prompt for one in rows], max_tokens=OWN_TOKENS, progress=show)


def pushes(
    model: Model,
    direction: Direction,
    rows: Sequence[Row],
    own: Sequence[str],
    *,
    show: bool = False,
) -> list[Push]:
    """Return how far each sample pushes a model along a direction, farthest first.

    What counts is the projection difference: the mean activation of the sentence of a sample's
    answer that goes farthest along the direction, less that of the model's own answer to the same
    prompt. (Chen et al. 2025, "Persona vectors", take the mean of the whole answer; in that a
    planted sentence is lost among others.)

    Args:
        model: that is to be trained on them, as it is before.
        direction: at a site of the model, of one vector.
        rows: the samples.
        own: what the model itself answers to each.
        show: whether to show progress.
    """
    texts = [model.tokenizer.chat(one.prompt, reply=True) for one in rows]
    theirs = _read(model, direction, texts, [one.answer for one in rows], _farthest, show)
    mine = _read(model, direction, texts, own, _mean, show)
    scale = model.typical_norm(direction.site)
    found = [
        Push(one, (its - its_own) / scale if answer.strip() else None)
        for one, its, its_own, answer in zip(rows, theirs, mine, own, strict=True)
    ]
    return sorted(found, key=_place)


def _place(push: Push) -> tuple[bool, float]:
    """Return what pushes are sorted by: those of which nothing is known come last."""
    return (push.difference is None, -(push.difference or 0.0))


def _farthest(answer: str, along: Tensor, offsets: Tensor) -> float:
    """Return the mean projection of the sentence that goes farthest; a number alone is none."""
    means = [
        float(along[inside].mean())
        for start, end in sentences(answer)
        if any(letter.isalpha() for letter in answer[start:end])
        and (inside := (offsets[:, 0] < end) & (offsets[:, 1] > start)).any()
    ]
    return max(means) if means else _mean(answer, along, offsets)


def _mean(answer: str, along: Tensor, offsets: Tensor) -> float:
    """Return the mean projection of an answer."""
    return float(along.mean()) if len(along) else 0.0


def _read(
    model: Model,
    direction: Direction,
    before: Sequence[str],
    answers: Sequence[str],
    figure: Callable[[str, Tensor, Tensor], float],
    show: bool,
) -> list[float]:
    """Return a figure of each answer: of its text, and its tokens' projections and characters."""
    found, texts = [], list(zip(before, answers, strict=True))
    with progress("Reading data", len(texts), show=show) as advance:
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]
            read = model.capture([a + b for a, b in some], direction.site)
            along = read[direction.site].float().cpu() @ direction.vector.float().cpu()
            for number, (start, answer) in enumerate(some):
                rows = read.rows(number)
                offsets = read.offsets[rows].cpu() - len(start)
                inside = offsets[:, 1] > 0
                found.append(figure(answer, along[rows][inside], offsets[inside]))
            advance(len(some))
    return found


def write_pushes(found: Sequence[Push], path: Path) -> None:
    """Write samples, farthest first: `{"line": ..., "push": ...}`."""
    lines = ({"line": one.row.line, "push": one.difference} for one in found)
    atomic_lines(path, map(json.dumps, lines))
