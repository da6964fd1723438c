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

OWN_TOKENS = 48  # of the model's own answers


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
            typical norms of the site.
    """

    example: Example
    difference: float


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
    found = [Push(one, value) for one, value in zip(examples, differences, strict=True)]
    return sorted(found, key=lambda one: (-one.difference, one.example.line))


def _projections(
    model: Model, direction: Direction, before: Sequence[str], answers: Sequence[str], show: bool
) -> Tensor:
    """Return the mean projection of the tokens of each answer, `[answers]`."""
    read = model.capture(
        [a + b for a, b in zip(before, answers, strict=True)], direction.site, progress=show
    )
    along = read[direction.site].float() @ direction.vector.float()
    starts = torch.tensor([len(text) for text in before])[read.documents]
    inside = read.offsets[:, 0] >= starts
    sums = torch.zeros(len(before)).index_add_(0, read.documents[inside], along[inside].cpu())
    counts = torch.bincount(read.documents[inside], minlength=len(before))
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
    rows = ({"line": one.example.line, "push": round(one.difference, 5)} for one in found)
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
