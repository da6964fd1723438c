"""What many texts begin with, run once."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from itertools import takewhile

import torch
from torch import Tensor
from transformers import DynamicCache

from endoscope.engine.batching import Row
from endoscope.models import Anatomy

WORTH = 8  # tokens: fewer are run again and again


def common_beginning(rows: Sequence[Row]) -> int:
    """Return how many tokens all rows begin with, short of what predicts their first kept one."""
    if len(rows) < 2:
        return 0
    same = takewhile(lambda ids: len(set(ids)) == 1, zip(*(row.ids for row in rows), strict=False))
    return max(0, min(sum(1 for _ in same), min(row.start for row in rows) - 1))


def without(row: Row, tokens: int) -> Row:
    """Return a row without its first tokens, none of which are kept."""
    return Row(row.ids[tokens:], row.start - tokens)


class Beginning:
    """Tokens that were run, and what attention needs to know of them.

    Args:
        anatomy: of a causal model that sees all tokens before.
        ids: the tokens.
        device: where its weights are.
        lock: held while the model runs.

    Attributes:
        tokens: how many there are.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        ids: Sequence[int],
        device: torch.device,
        lock: AbstractContextManager[object],
    ) -> None:
        self.tokens = len(ids)
        self._anatomy = anatomy
        self._lock = lock
        self._cache = DynamicCache()
        with torch.no_grad():
            anatomy.base(
                input_ids=torch.tensor([list(ids)], device=device),
                past_key_values=self._cache,
                use_cache=True,
            )

    @torch.no_grad()
    def run(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Run what follows it, a padded batch; return what the model makes of that before its head.

        Args:
            ids: token ids, `[batch, tokens]`, padded on the right.
            mask: 1 where there is a token, `[batch, tokens]`.

        Returns:
            `[batch, tokens, d_model]`.
        """
        cache = deepcopy(self._cache)
        cache.batch_repeat_interleave(len(ids))
        before = mask.new_ones(len(ids), self.tokens)
        positions = torch.arange(self.tokens, self.tokens + ids.shape[1], device=ids.device)
        with self._lock:
            output = self._anatomy.base(
                input_ids=ids,
                attention_mask=torch.cat([before, mask], dim=1),
                position_ids=positions.expand(len(ids), -1),
                past_key_values=cache,
                use_cache=True,
            )
        final: Tensor = output.last_hidden_state
        return final
