"""From the activations of texts to the rows of a contrast."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from endoscope.activations import Activations
from endoscope.errors import InputError
from endoscope.models import Site

Tokens = Literal["mean", "last", "all"]
"""Which tokens of a text count: their mean, the last one, or each."""


def document_rows(
    acts: Activations, site: Site, tokens: Tokens, starts: Sequence[int] | None = None
) -> list[Tensor]:
    """Return the rows of each document, `[rows, d_model]` float64, in order.

    Special tokens do not count, nor does the first token of all: it is an attention sink, whose
    values say nothing of the text and outweigh all others.

    Args:
        acts: of the documents.
        site: where they are taken.
        tokens: which count.
        starts: for each document the character from which tokens count; all of them if left out.

    Raises:
        InputError: a document has no token left; it is named.
    """
    values, found = acts[site], []
    for number, name in enumerate(acts.document_ids):
        rows = acts.rows(number)
        offsets = acts.offsets[rows]
        start = 0 if starts is None else starts[number]
        counts = counting_tokens(offsets) & (offsets[:, 0] >= start)
        chosen = values[rows][counts].double()
        if not len(chosen):
            raise InputError(
                f"Document {name!r} has no token after the first to be read.", "Give more text."
            )
        found.append(pooled(chosen, tokens))
    return found


def counting_tokens(offsets: Tensor) -> Tensor:
    """Return which tokens of a text count, `[tokens]` bool: no special token, nor the first."""
    counts = offsets[:, 0] < offsets[:, 1]
    counts[:1] = False
    return counts


def pooled(rows: Tensor, tokens: Tokens) -> Tensor:
    """Return the rows of tokens `[tokens, d_model]` as they count, `[rows, d_model]`."""
    match tokens:
        case "mean":
            return rows.mean(0, keepdim=True)
        case "last":
            return rows[-1:]
        case "all":
            return rows


def stack(
    parts: Sequence[Tensor], classes: Sequence[int], units: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows, classes and units `[rows]` of documents that have one class and unit each."""
    lengths = torch.tensor([len(part) for part in parts])
    return (
        torch.cat(list(parts)),
        torch.tensor(classes).repeat_interleave(lengths),
        torch.tensor(units).repeat_interleave(lengths),
    )
