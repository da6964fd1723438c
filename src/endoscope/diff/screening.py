"""Which samples of training data push a model along a direction."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from endoscope import jsonl
from endoscope.artifacts import atomic_file
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
        difference: of the projections of its answer and of the model's own answer to its prompt, in
            typical norms of the site; None where the model itself answers nothing.
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

    What counts is the projection difference: the mean activation of a sample's answer, less that of
    the model's own answer to the same prompt, along the direction. (Chen et al. 2025, "Persona
    vectors".)

    Args:
        model: that is to be trained on them, as it is before.
        direction: at a site of the model, of one vector.
        examples: the samples.
        own: what the model itself answers to each.
        show: whether to show progress.
    """
    texts = [_before(model, one.prompt) for one in examples]
    theirs = _projections(model, direction, texts, [one.answer for one in examples], show)
    mine = _projections(model, direction, texts, own, show)
    scale = model.typical_norm(direction.site)
    differences = ((theirs - mine) / scale).tolist()
    found = [
        Push(one, value if answer.strip() else None)
        for one, value, answer in zip(examples, differences, own, strict=True)
    ]
    return sorted(found, key=_place)


def _place(push: Push) -> tuple[bool, float, int]:
    """Return what pushes are sorted by: those of which nothing is known come last."""
    return (push.difference is None, -(push.difference or 0.0), push.example.line)


def _projections(
    model: Model, direction: Direction, before: Sequence[str], answers: Sequence[str], show: bool
) -> Tensor:
    """Return the mean projection of the tokens of each answer, `[answers]`."""
    parts = []
    with progress("Reading data", len(before), show=show) as advance:
        for start in range(0, len(before), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            parts.append(_means(model, direction, before[some], answers[some]))
            advance(len(before[some]))
    return torch.cat(parts) if parts else torch.zeros(0)


def _means(
    model: Model, direction: Direction, before: Sequence[str], answers: Sequence[str]
) -> Tensor:
    texts = [a + b for a, b in zip(before, answers, strict=True)]
    read = model.capture(texts, direction.site)
    values = read[direction.site].float().cpu()
    along = values @ direction.vector.float().cpu()
    documents, offsets = read.documents.cpu(), read.offsets.cpu()
    starts = torch.tensor([len(text) for text in before])[documents]
    inside = offsets[:, 0] >= starts
    sums = torch.zeros(len(before)).index_add_(0, documents[inside], along[inside])
    counts = torch.bincount(documents[inside], minlength=len(before))
    return sums / counts.clamp(min=1)


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
