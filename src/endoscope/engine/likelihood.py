"""How likely a model finds given tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from endoscope.engine.batching import Row
from endoscope.models import Anatomy

_LOGITS = 1 << 25  # numbers held at a time


@torch.no_grad()
def log_probabilities(anatomy: Anatomy, final: Tensor, rows: Sequence[Row]) -> list[float]:
    """Return the natural log of the probability of each row's kept tokens, summed over them.

    Args:
        anatomy: of the model; it has the head.
        final: what the model makes of the rows before its head, `[batch, tokens, d_model]`, padded
            on the right.
        rows: token ids; the first kept token has at least one before it.
    """
    kept = [row.kept for row in rows]
    # The token before predicts a token.
    source = torch.cat(
        [value[row.start - 1 : len(row.ids) - 1] for value, row in zip(final, rows, strict=True)]
    )
    target = torch.tensor(
        [token for row in rows for token in row.ids[row.start :]], device=final.device
    )
    vocabulary = anatomy.logits(final[0, :0]).shape[-1]
    size = max(1, _LOGITS // vocabulary)
    parts = [
        anatomy.logits(some).float().log_softmax(-1).gather(1, which[:, None])[:, 0]
        for some, which in zip(source.split(size), target.split(size), strict=True)
    ]
    return [float(one.double().sum()) for one in torch.cat(parts).split(kept)]
