"""Texts of many lengths as few padded batches."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Row(NamedTuple):
    """One sequence to run, and which of its tokens to keep.

    Attributes:
        ids: token ids.
        start: first token that is kept; all that follow are kept too.
    """

    ids: Sequence[int]
    start: int = 0

    @property
    def kept(self) -> int:
        """How many tokens are kept."""
        return len(self.ids) - self.start


def plan(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group sequences of similar length, so that little is padded.

    Args:
        lengths: tokens of each sequence; sequences without tokens are left out.
        budget: most tokens in a batch, padding counted, and at most a sixteenth of it padding. A
            longer sequence goes alone.

    Returns:
        Batches of indices, from short to long; within a batch the order of the input is kept among
        equal lengths.
    """
    batches: list[list[int]] = []
    kept = 0  # tokens in the last batch
    for index in sorted((i for i, n in enumerate(lengths) if n), key=lengths.__getitem__):
        # Sorted, so this sequence is the longest of the batch it joins; the others are padded.
        kept += lengths[index]
        padded = lengths[index] * (len(batches[-1]) + 1) if batches else 0
        if not batches or padded > budget or padded - kept > budget // 16:
            batches.append([])
            kept = lengths[index]
        batches[-1].append(index)
    return batches


def pad(
    rows: Sequence[Row], padding: int, device: torch.device, *, left: bool = False
) -> tuple[Tensor, Tensor]:
    """Return ids and attention mask, both `[batch, tokens]`, padded on the right or left."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), padding, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        start = longest - len(row.ids) if left else 0
        ids[number, start : start + len(row.ids)] = torch.as_tensor(row.ids, dtype=torch.long)
        mask[number, start : start + len(row.ids)] = 1
    return ids.to(device), mask.to(device)
