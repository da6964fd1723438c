"""What the matrices of a model read, over the tokens that count."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from endoscope.edit.passage import Passage
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models.anatomy import Role
from endoscope.progress import progress

AT_ONCE = 8  # passages


class Moments(NamedTuple):
    """What a matrix reads, over some tokens, float32.

    Attributes:
        second: `E[x x^T]`, `[in, in]`.
        mean: `E[x]`, `[in]`.
    """

    second: Tensor
    mean: Tensor


class Batch(NamedTuple):
    """Passages as the model takes them, padded on the right.

    Attributes:
        ids: `[passages, tokens]`.
        mask: 1 where there is a token.
        predicting: where the next token is one that counts, `[passages, tokens]`.
    """

    ids: Tensor
    mask: Tensor
    predicting: Tensor


def batches(model: Model, passages: Sequence[Passage]) -> Iterator[Batch]:
    """Yield passages as batches.

    Raises:
        InputError: one of them is longer than the model takes.
    """
    most = model.loaded.anatomy.max_tokens
    for first in range(0, len(passages), AT_ONCE):
        some = passages[first : first + AT_ONCE]
        encoded = model.tokenizer.encode_batch([one.text for one in some])
        longest = max(len(one.ids) for one in encoded)
        if most is not None and longest > most:
            raise InputError(f"A text has {longest} tokens; the model takes {most}.", "Shorten it.")
        ids = torch.zeros(len(some), longest, dtype=torch.long)
        mask, predicting = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        for row, (passage, tokens) in enumerate(zip(some, encoded, strict=True)):
            count = len(tokens.ids)
            ids[row, :count], mask[row, :count] = torch.tensor(tokens.ids), 1
            places = torch.tensor(tokens.offsets)
            for start, end in passage.spans:
                inside = (places[:, 0] < end) & (places[:, 1] > start)
                predicting[row, : count - 1] |= inside[1:]
        yield Batch(*(one.to(model.device) for one in (ids, mask, predicting)))


def counting(model: Model, passage: Passage) -> list[tuple[int, int]]:
    """Return the characters of the tokens that count, in order."""
    offsets = model.tokenizer.encode(passage.text).offsets[1:]  # nothing predicts the first
    return [
        (start, end)
        for start, end in offsets
        if any(start < b and end > a for a, b in passage.spans)
    ]


def openings(model: Model, passages: Sequence[Passage]) -> list[int]:
    """Return the tokens with which spans begin, one for each."""
    found = []
    for text, spans in passages:
        ids, offsets = model.tokenizer.encode(text)
        for start, _ in spans:
            found.append(next(i for i, (_, end) in zip(ids, offsets, strict=True) if end > start))
    return found


def matrix_names(model: Model, *roles: Role) -> list[str]:
    """Return the names of the matrices of all blocks that are modules of their own.

    Args:
        model: that has them.
        roles: those that read from the residual stream, `readers`, or write to it, `writers`.

    Raises:
        InputError: there are none.
    """
    names = {module: name for name, module in model.loaded.module.named_modules()}
    found = [names[one] for role in roles for *_, one in model.loaded.anatomy.matrices(role)]
    if not found:
        raise InputError("No matrix is a module of its own here.", "Choose --method ablate.")
    return found


@torch.no_grad()
def moments(
    model: Model, names: Sequence[str], passages: Sequence[Passage], *, show: bool = False
) -> dict[str, Moments]:
    """Return the moments of what matrices read where a token that counts is predicted.

    Args:
        model: that reads the passages.
        names: of the modules to look at.
        passages: texts with the spans that count.
        show: whether to show progress.

    Returns:
        The moments for each name; modules that read the same tensor one after the other have the
        same ones.
    """
    sums: dict[str, Moments] = {}
    first: dict[str, str] = {}  # of those that read the same
    last: list[tuple[Tensor, str]] = []
    where: list[Tensor] = []

    def look(name: str) -> Any:
        def hook(module: Any, args: tuple[Tensor, ...]) -> None:
            if last and last[0][0] is args[0]:
                first[name] = last[0][1]
                return
            last[:] = [(args[0], name)]
            first[name] = name
            x = args[0][where[0]].float()
            if name not in sums:
                size = x.shape[-1]
                sums[name] = Moments(x.new_zeros(size, size), x.new_zeros(size))
            second, mean = sums[name]
            second.addmm_(x.T, x)  # in place: there are as many as matrices
            mean.add_(x.sum(0))

        return hook

    count = 0
    hooks = {name: look(name) for name in names}
    with _hooked(model, hooks), progress("Reading", len(passages), show=show) as advance:
        for batch in batches(model, passages):
            where[:] = [batch.predicting]
            model.loaded.anatomy.base(input_ids=batch.ids, attention_mask=batch.mask)
            count += int(batch.predicting.sum())
            advance(len(batch.ids))
    means = {name: Moments(*(one / max(1, count) for one in sums[name])) for name in sums}
    return {name: means[first[name]] for name in names}


@contextmanager
def _hooked(model: Model, hooks: Mapping[str, Any]) -> Iterator[None]:
    module = model.loaded.module
    handles = [module.get_submodule(n).register_forward_pre_hook(h) for n, h in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
