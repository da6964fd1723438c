"""How likely a model finds given texts after given prompts."""

from collections.abc import Sequence

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


def log_likelihood(
    engine: Engine,
    prompts: Sequence[Text],
    continuations: Sequence[str],
    *,
    batch_tokens: int,
    progress: bool,
    interventions: Compiled | None,
) -> list[float]:
    """Return the log-likelihood of each continuation after its prompt, see `Model`."""
    if not engine.capabilities.causal:
        raise InputError(
            "This model reads in both directions: it has no likelihood of what follows.",
            "Open a causal model.",
        )
    rows = _rows(prompts, continuations, engine.tokenizer)
    check_lengths(engine, [(str(number), row) for number, row in enumerate(rows)])
    found = [0.0] * len(rows)
    total = sum(len(row.ids) for row in rows)
    with progress_bar("Reading tokens", total, show=progress) as advance:
        for batch, values in engine.log_likelihood(
            rows, batch_tokens=batch_tokens, interventions=interventions
        ):
            for number, value in zip(batch, values, strict=True):
                found[number] = value
            advance(sum(len(rows[number].ids) for number in batch))
    return found


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
def log_probabilities(anatomy: Anatomy, final: Tensor, rows: Sequence[Row]) -> list[float]:
    """Return the natural log of the probability of each row's kept tokens, summed over them.

    Args:
        anatomy: of the model; it has the head.
        final: what the model makes of the rows before its head, `[batch, tokens, d_model]`, padded
            on the right.
        rows: token ids; the first kept token has at least one before it.
    """
    # A token is predicted by the one before it.
    source = torch.cat(
        [value[row.start - 1 : len(row.ids) - 1] for value, row in zip(final, rows, strict=True)]
    )
    target = torch.tensor(
        [token for row in rows for token in row.ids[row.start :]], device=final.device
    )
    size = max(1, _LOGITS // anatomy.logits(source[:0]).shape[-1])
    parts = [
        anatomy.logits(some).float().log_softmax(-1).gather(1, which[:, None])[:, 0]
        for some, which in zip(torch.split(source, size), torch.split(target, size), strict=True)
    ]
    sums = torch.split(torch.cat(parts).double(), [row.kept for row in rows])
    return [float(one.sum()) for one in sums]
