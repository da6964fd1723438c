"""Gradients of predictions by what matrices write, and by the matrices themselves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from endoscope.edit.inputs import Batch, batches
from endoscope.edit.passage import Passage
from endoscope.edit.trying import predictions
from endoscope.engine import Model
from endoscope.progress import progress


class Pull(NamedTuple):
    """Which way predictions would have to go.

    Attributes:
        apart: how far they are from the others, in nats a token.
        gradients: of that by each matrix, `[out, in]`, float32.
    """

    apart: float
    gradients: dict[str, Tensor]


def pull(
    model: Model,
    other: Model,
    names: Sequence[str],
    passages: Sequence[Passage],
    *,
    show: bool = False,
) -> Pull:
    """Return the gradients of KL(other || model), the mean over passages of that of their tokens.

    Every token that is read plays its part in them, and not only those that count.

    Args:
        model: whose matrices they are of.
        other: that its predictions are to be pulled towards.
        names: of the matrices, which are modules of their own.
        passages: texts with the spans whose tokens are predicted.
        show: whether to show progress.
    """
    found: dict[str, Tensor] = {}
    apart: list[float] = []

    def grow(name: str, given: Tensor, gradient: Tensor) -> None:
        part = gradient.flatten(0, -2).float().T @ given.flatten(0, -2).float()
        found[name] = found[name] + part if name in found else part

    def loss(batch: Batch, now: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = predictions(other, batch)
        counts = batch.predicting.sum(1)
        each = (wanted.exp() * (wanted - now)).sum(-1) / counts.repeat_interleave(counts)
        some = counts[counts > 0].tolist()
        apart.extend(float(one.sum()) for one in torch.split(each.detach(), some))
        return each.sum()

    _propagated(model, names, passages, loss, grow, show=show)
    gradients = {name: one / len(apart) for name, one in found.items()}
    return Pull(sum(apart) / len(apart), gradients)


def sensitivities(
    model: Model, names: Sequence[str], passages: Sequence[Passage], *, show: bool = False
) -> dict[str, float]:
    """Return how far predictions move with what each matrix writes.

    It is the trace of the second factor of K-FAC (Martens and Grosse 2015): the mean square of the
    gradient, by what the matrix writes, of the log-likelihood of the model's own words.

    Args:
        model: that reads the passages, and draws words from its predictions.
        names: of the matrices, which are modules of their own.
        passages: texts with the spans whose tokens are predicted.
        show: whether to show progress.
    """
    found = dict.fromkeys(names, 0.0)
    generator = torch.Generator(model.device).manual_seed(0)
    count = 0

    def grow(name: str, given: Tensor, gradient: Tensor) -> None:
        found[name] += float(gradient.double().pow(2).sum())

    def loss(batch: Batch, now: Tensor) -> Tensor:
        nonlocal count
        count += len(now)
        drawn = torch.multinomial(now.detach().exp(), 1, generator=generator)
        return now.gather(1, drawn).sum()

    _propagated(model, names, passages, loss, grow, show=show)
    return {name: total / max(1, count) for name, total in found.items()}


def _propagated(
    model: Model,
    names: Sequence[str],
    passages: Sequence[Passage],
    loss: Callable[[Batch, Tensor], Tensor],
    look: Callable[[str, Tensor, Tensor], None],
    *,
    show: bool,
) -> None:
    """Propagate a loss of predictions back; show what matrices read, and its gradient after them.

    Args:
        model: that predicts.
        names: of the matrices.
        passages: that are read.
        loss: of a batch and its predictions.
        look: is given the name of a matrix, what it reads `[..., in]`, and the gradient
            `[..., out]`, which is nothing where there is padding.
        show: whether to show progress.
    """
    with _watched(model, names, look), progress("Gradients", len(passages), show=show) as advance:
        for batch in batches(model, passages):
            with torch.enable_grad():
                loss(batch, predictions(model, batch)).backward()  # type: ignore[no-untyped-call]
            advance(len(batch.ids))


@contextmanager
def _watched(
    model: Model, names: Sequence[str], look: Callable[[str, Tensor, Tensor], None]
) -> Iterator[None]:
    def watch(name: str) -> Any:
        def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            if output.requires_grad:
                given = args[0].detach()
                output.register_hook(lambda g: look(name, given, g))  # type: ignore[no-untyped-call]

        return hook

    def begin(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.detach().requires_grad_(torch.is_grad_enabled())  # weights are frozen

    module = model.loaded.module
    table = model.loaded.anatomy.embeddings[0]
    handles = [table.register_forward_hook(begin)]
    handles += [module.get_submodule(one).register_forward_hook(watch(one)) for one in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
