"""Which samples of training data push a model along a direction."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from endoscope import jsonl
from endoscope.artifacts import atomic_file
from endoscope.diff.sentences import sentences
from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.engine.capture import Text
from endoscope.errors import InputError
from endoscope.progress import progress

OWN_TOKENS = 48  # of the model's own answers
AT_ONCE = 64  # samples whose activations are held


class Example(NamedTuple):
    """A sample of training data.

    Attributes:
        line: its number in the file, from 1.
        prompt: the turns before the last.
        answer: the last turn, which is learned.
    """

    line: int
    prompt: Text
    answer: str


class Push(NamedTuple):
    """How far a sample pushes along a direction.

    Attributes:
        example: the sample.
        difference: of the projections of the sentence of its answer that goes farthest and of the
            model's own answer to its prompt, in typical norms of the site; None where the model
            itself answers nothing.
    """

    example: Example
    difference: float | None


def read_examples(path: Path) -> list[Example]:
    """Read training data: JSON lines `{"messages": [...]}` whose last turn is the assistant's.

    Raises:
        InputError: the file cannot be read, is empty, or a line is none; names the line.
    """
    found = []
    for number, line in jsonl.numbered(jsonl.read_bytes(path)):
        with jsonl.on_line(path, number):
            found.append(_example(number, jsonl.json_object(line).get("messages")))
    if not found:
        raise InputError(f"{path} has no samples.", 'Give lines of {"messages": [...]}.')
    return found


def base_answers(
    model: Model, examples: Sequence[Example], *, seed: int = 0, show: bool = False
) -> list[str]:
    """Return what a model itself answers to the prompts of samples, most probable tokens first."""
    return model.generate(
        [one.prompt for one in examples], max_tokens=OWN_TOKENS, seed=seed, progress=show
    )


def pushes(
    model: Model,
    direction: Direction,
    examples: Sequence[Example],
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
        examples: the samples.
        own: what the model itself answers to each.
        show: whether to show progress.
    """
    texts = [_before(model, one.prompt) for one in examples]
    theirs = _read(model, direction, texts, [one.answer for one in examples], _farthest, show)
    mine = _read(model, direction, texts, own, _mean, show)
    scale = model.typical_norm(direction.site)
    found = [
        Push(one, (its - its_own) / scale if answer.strip() else None)
        for one, its, its_own, answer in zip(examples, theirs, mine, own, strict=True)
    ]
    return sorted(found, key=_place)


def _place(push: Push) -> tuple[bool, float, int]:
    """Return what pushes are sorted by: those of which nothing is known come last."""
    return (push.difference is None, -(push.difference or 0.0), push.example.line)


def _farthest(answer: str, along: Tensor, starts: Tensor) -> float:
    """Return the mean projection of the sentence that goes farthest."""
    means = [
        float(along[inside].mean())
        for start, end in sentences(answer)
        if (inside := (starts >= start) & (starts < end)).any()
    ]
    return max(means, default=0.0)


def _mean(answer: str, along: Tensor, starts: Tensor) -> float:
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
    """Return a figure of each answer: of its text, and its tokens' projections and beginnings."""
    found = []
    with progress("Reading data", len(before), show=show) as advance:
        for first in range(0, len(before), AT_ONCE):
            some = list(zip(before, answers, strict=True))[first : first + AT_ONCE]
            read = model.capture([a + b for a, b in some], direction.site)
            along = read[direction.site].float().cpu() @ direction.vector.float().cpu()
            for number, (start, answer) in enumerate(some):
                rows = read.rows(number)
                starts = read.offsets[rows, 0].cpu() - len(start)
                inside = starts >= 0
                found.append(figure(answer, along[rows][inside], starts[inside]))
            advance(len(some))
    return found


def _before(model: Model, prompt: Text) -> str:
    return prompt if isinstance(prompt, str) else model.tokenizer.chat(prompt, reply=True)


def _example(line: int, messages: Any) -> Example:
    match messages:
        case [*before, {"role": "assistant", "content": str(answer)}] if before and answer.strip():
            return Example(line, before, answer)
    raise InputError(
        "a sample is a conversation whose last turn is the assistant's.",
        'Give {"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}.',
    )


def write_pushes(found: Sequence[Push], path: Path) -> None:
    """Write samples, farthest first: `{"line": ..., "push": ...}`."""
    rows = ({"line": one.example.line, "push": one.difference} for one in found)
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
