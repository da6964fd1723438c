"""What many texts begin with, run once."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from itertools import takewhile
from typing import NamedTuple, Self

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


class Group(NamedTuple):
    """Rows that differ only in what is kept of them.

    Attributes:
        prompt: tokens that are worth running once, short of what predicts the first kept one.
        numbers: of the rows.
    """

    prompt: Sequence[int]
    numbers: list[int]


def by_prompt(rows: Sequence[Row], most: int) -> list[Group]:
    """Return rows in groups of one prompt, of at most so many."""
    same: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        same[tuple(row.ids[: row.start])].append(number)
    return [
        Group(prompt[:-1] if len(numbers) > 1 else (), numbers[start : start + most])
        for prompt, numbers in same.items()
        for start in range(0, len(numbers), most)
    ]


class Beginning:
    """Texts that were run, and what attention needs to know of them.

    Args:
        anatomy: of a causal model that sees all tokens before.
        lock: held while the model runs.
        cache: keys and values of the texts, `[texts, heads, tokens, d_head]` a layer.
        mask: 1 where there is a token, `[texts, tokens]`.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        lock: AbstractContextManager[object],
        cache: DynamicCache,
        mask: Tensor,
    ) -> None:
        self._anatomy, self._lock, self._cache, self._mask = anatomy, lock, cache, mask

    @classmethod
    def of(cls, anatomy: Anatomy, lock: AbstractContextManager[object], ids: Tensor) -> Self:
        """Run one text, `[1, tokens]`."""
        nothing = cls(anatomy, lock, DynamicCache(), ids.new_zeros(1, 0))
        return nothing.extended(ids, torch.ones_like(ids))

    def extended(self, ids: Tensor, mask: Tensor) -> Self:
        """Run several texts that go on from one.

        Args:
            ids: token ids, `[texts, tokens]`, padded on the left.
            mask: 1 where there is a token, `[texts, tokens]`.
        """
        cache, whole, _ = self._run([0] * len(ids), ids, mask)
        return type(self)(self._anatomy, self._lock, cache, whole)

    def run(self, which: Sequence[int], ids: Tensor, mask: Tensor) -> Tensor:
        """Run what follows; return what the model makes of that before its head.

        Args:
            which: the text that each row goes on from.
            ids: token ids, `[batch, tokens]`, padded on the right.
            mask: 1 where there is a token, `[batch, tokens]`.

        Returns:
            `[batch, tokens, d_model]`.
        """
        return self._run(which, ids, mask)[2]

    @torch.no_grad()
    def _run(
        self, which: Sequence[int], ids: Tensor, mask: Tensor
    ) -> tuple[DynamicCache, Tensor, Tensor]:
        chosen = torch.tensor(which, device=ids.device)
        cache = deepcopy(self._cache)
        if self._mask.shape[1]:
            cache.batch_select_indices(chosen)
        whole = torch.cat([self._mask[chosen], mask], dim=1)
        positions = (whole.cumsum(1) - 1).clamp(min=0)[:, self._mask.shape[1] :]
        with self._lock:
            output = self._anatomy.base(
                input_ids=ids,
                attention_mask=whole,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
        final: Tensor = output.last_hidden_state
        return cache, whole, final
