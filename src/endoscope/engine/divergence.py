"""How far interventions move what a model predicts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from endoscope.engine.base import Engine
from endoscope.engine.batching import Row
from endoscope.engine.capture import Text
from endoscope.engine.likelihood import continued, in_order, predicting, rows_at_once, sums
from endoscope.interventions import Compiled
from endoscope.models import Anatomy


def divergence(
    engine: Engine,
    prompts: Sequence[Text],
    continuations: Sequence[str],
    *,
    batch_tokens: int,
    progress: bool,
    interventions: Compiled | None,
) -> list[float]:
    """Return how far predictions move within each continuation, see `Model`."""
    rows = continued(engine, prompts, continuations)
    batches = engine.divergence(rows, batch_tokens=batch_tokens, interventions=interventions)
    return in_order(rows, batches, progress=progress)


@torch.no_grad()
def divergences(
    anatomy: Anatomy, plain: Tensor, changed: Tensor, rows: Sequence[Row]
) -> list[float]:
    """Return KL(plain || changed) of the predictions of each row's kept tokens, summed over them.

    Args:
        anatomy: of the model; it has the head.
        plain: what the model makes of the rows before its head, `[batch, tokens, d_model]`, padded
            on the right.
        changed: the same with interventions.
        rows: token ids; the first kept token has at least one before it.
    """
    size = rows_at_once(anatomy)
    before, after = (torch.split(predicting(one, rows), size) for one in (plain, changed))
    parts = []
    for left, right in zip(before, after, strict=True):
        p, q = (anatomy.logits(one).float().log_softmax(-1) for one in (left, right))
        parts.append((p.exp() * (p - q)).sum(-1))
    return sums(torch.cat(parts), rows)
