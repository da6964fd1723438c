"""How likely a model finds given texts after given prompts."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from endoscope.engine.base import Engine
from endoscope.engine.batching import Row
from endoscope.engine.capture import Text, check_lengths, prepare
from endoscope.errors import InputError
from endoscope.interventions import Compiled
from endoscope.models import Anatomy, TextTokenizer
from endoscope.progress import progress as progress_bar

_LOGITS = 1 << 25  # numbers held at a time


T = TypeVar("T")


def log_likelihoods(
    engine: Engine,
    prompts: Sequence[Text],
    continuations: Sequence[str],
    *,
    batch_tokens: int,
    progress: bool,
    interventions: Compiled | None,
) -> list[Tensor]:
    """Return how likely each token of each continuation is, see `Model.token_log_likelihoods`."""
    rows = continued(engine, prompts, continuations)
    batches = engine.log_likelihood(rows, batch_tokens=batch_tokens, interventions=interventions)
    return in_order(rows, batches, progress=progress)


def in_order(
    rows: Sequence[Row], batches: Iterable[tuple[list[int], list[T]]], *, progress: bool
) -> list[T]:
    """Return what there is for each row, from batches that give the numbers of their rows."""
    found: dict[int, T] = {}
    total = sum(len(row.ids) for row in rows)
    with progress_bar("Reading tokens", total, show=progress) as advance:
        for batch, values in batches:
            found |= zip(batch, values, strict=True)
            advance(sum(len(rows[number].ids) for number in batch))
    return [found[number] for number in range(len(rows))]


def continued(engine: Engine, prompts: Sequence[Text], continuations: Sequence[str]) -> list[Row]:
    """Return prompts with what follows them as rows, of which the continuations are kept.

    Raises:
        InputError: a text cannot be read or has no tokens, or the model is not causal.
    """
    if not engine.capabilities.causal:
        raise InputError(
            "This model reads in both directions: it has no likelihood of what follows.",
            "Open a causal model.",
        )
    rows = _rows(prompts, continuations, engine.tokenizer)
    check_lengths(engine, [(str(number), row) for number, row in enumerate(rows)])
    return rows


def _rows(
    prompts: Sequence[Text], continuations: Sequence[str], tokenizer: TextTokenizer
) -> list[Row]:
    if len(prompts) != len(continuations):
        raise InputError(
            f"{len(continuations)} continuations were given for {len(prompts)} prompts.",
            "Give one for each.",
        )
    before = prepare(prompts, tokenizer, None, readings=1, reply=True)
    after = tokenizer.encode_batch(continuations, special=False)
    rows = [
        Row([*prompt.row.ids, *continuation.ids], start=len(prompt.row.ids))
        for prompt, continuation in zip(before, after, strict=True)
    ]
    for number, row in enumerate(rows):
        if not row.kept:
            raise InputError(f"Continuation {number} has no tokens.", "Leave it out.")
        if not row.start:
            raise InputError(f"Prompt {number} has no tokens.", "Give it a text.")
    return rows


@torch.no_grad()
def log_probabilities(anatomy: Anatomy, final: Tensor, rows: Sequence[Row]) -> list[Tensor]:
    """Return the natural logs of the probabilities of each row's kept tokens, on the CPU.

    Args:
        anatomy: of the model; it has the head.
        final: what the model makes of the rows before its head, `[batch, tokens, d_model]`, padded
            on the right.
        rows: token ids; the first kept token has at least one before it.
    """
    source = predicting(final, rows)
    target = torch.tensor(
        [token for row in rows for token in row.ids[row.start :]], device=final.device
    )
    size = rows_at_once(anatomy)
    parts = [
        anatomy.logits(some).float().log_softmax(-1).gather(1, which[:, None])[:, 0]
        for some, which in zip(torch.split(source, size), torch.split(target, size), strict=True)
    ]
    return list(torch.split(torch.cat(parts).cpu(), [row.kept for row in rows]))


def predicting(final: Tensor, rows: Sequence[Row]) -> Tensor:
    """Return what predicts the kept tokens: the values of the tokens before, `[kept, d_model]`."""
    return torch.cat(
        [value[row.start - 1 : len(row.ids) - 1] for value, row in zip(final, rows, strict=True)]
    )


def rows_at_once(anatomy: Anatomy) -> int:
    """Return of how many tokens to hold the logits at a time."""
    return max(1, _LOGITS // anatomy.vocabulary_size)


def sums(values: Tensor, rows: Sequence[Row]) -> list[float]:
    """Return the sum of the values `[kept]` of each row's kept tokens."""
    parts = torch.split(values.double(), [row.kept for row in rows])
    return [float(part.sum()) for part in parts]
