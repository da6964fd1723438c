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
    directions: Sequence[Direction],
    rows: Sequence[Row],
    own: Sequence[str],
    *,
    show: bool = False,
) -> list[list[Push]]:
    """Return how far each sample pushes a model along each direction, farthest first.

    What counts is the projection difference: the mean activation of the sentence of a sample's
    answer that goes farthest along the direction, less that of the model's own answer to the same
    prompt. (Chen et al. 2025, "Persona vectors", take the mean of the whole answer; in that a
    planted sentence is lost among others.)

    Args:
        model: that is to be trained on them, as it is before.
        directions: at sites of the model, of one vector each; the data are read once for all.
        rows: the samples.
        own: what the model itself answers to each.
        show: whether to show progress.

    Returns:
        For each direction the samples in their order.
    """
    texts = [model.tokenizer.chat(one.prompt, reply=True) for one in rows]
    theirs = _read(model, directions, texts, [one.answer for one in rows], _farthest, show)
    mine = _read(model, directions, texts, own, _mean, show)
    found = []
    for direction, its, its_own in zip(directions, theirs, mine, strict=True):
        scale = model.typical_norm(direction.site)
        some = [
            Push(row, (pushed - itself) / scale if answer.strip() else None)
            for row, pushed, itself, answer in zip(rows, its, its_own, own, strict=True)
        ]
        found.append(sorted(some, key=_place))
    return found


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
    directions: Sequence[Direction],
    before: Sequence[str],
    answers: Sequence[str],
    figure: Callable[[str, Tensor, Tensor], float],
    show: bool,
) -> list[list[float]]:
    """Return for each direction a figure of each answer.

    A figure is made of the answer's text, and of its tokens' projections and characters.
    """
    sites = list(dict.fromkeys(one.site for one in directions))
    found: list[list[float]] = [[] for _ in directions]
    texts = list(zip(before, answers, strict=True))
    with progress("Reading data", len(texts), show=show) as advance:
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]
            read = model.capture([a + b for a, b in some], sites)
            for direction, figures in zip(directions, found, strict=True):
                along = read[direction.site].float().cpu() @ direction.vector.float().cpu()
                for number, (start, answer) in enumerate(some):
                    rows = read.rows(number)
                    offsets = read.offsets[rows].cpu() - len(start)
                    inside = offsets[:, 1] > 0
                    figures.append(figure(answer, along[rows][inside], offsets[inside]))
            advance(len(some))
    return found


def write_pushes(found: Sequence[Push], path: Path) -> None:
    """Write samples, farthest first: `{"line": ..., "push": ...}`."""
    lines = ({"line": one.row.line, "push": one.difference} for one in found)
    atomic_lines(path, map(json.dumps, lines))
