"""Gradients of predictions by what matrices write, and by the matrices themselves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from endoscope.edit.inputs import batches
from endoscope.edit.passage import Passage
from endoscope.edit.trying import Divergences, mean_of_each, predictions
from endoscope.engine import Model
from endoscope.progress import progress


def pull(
    model: Model, names: Sequence[str], gap: Divergences, *, show: bool = False
) -> tuple[float, dict[str, Tensor]]:
    """Return how far a model's predictions are from another's, and its gradients by matrices.

    That is KL(other || model), the mean over passages of that of their tokens. Every token that is
    read plays its part in the gradients, and not only those that count.

    Args:
        model: whose matrices they are of.
        names: of the matrices, which are modules of their own.
        gap: from the other model, in some passages.
        show: whether to show progress.

    Returns:
        The gap, in nats a token, and its gradient for each name, `[out, in]`, float32.
    """
    found: dict[str, Tensor] = {}
    apart: list[float] = []

    def grow(name: str, given: Tensor, gradient: Tensor) -> None:
        part = gradient.flatten(0, -2).float().T @ given.flatten(0, -2).float()
        found[name] = found[name] + part if name in found else part

    count = len(gap.passages)
    with _watched(model, names, grow), progress("Gradients", count, show=show) as advance:
        for batch, wanted in gap.predicted():
            with torch.enable_grad():
                each = (wanted.exp() * (wanted - predictions(model, batch))).sum(-1)
                means = mean_of_each(each, batch)
                torch.stack(means).sum().backward()  # type: ignore[no-untyped-call]
            apart += [float(one.detach()) for one in means]
            advance(len(batch.ids))
    return sum(apart) / len(apart), {name: one / len(apart) for name, one in found.items()}


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
        found[name] += float(gradient.float().pow(2).sum())

    with _watched(model, names, grow), progress("Moves", len(passages), show=show) as advance:
        for batch in batches(model, passages):
            with torch.enable_grad():
                now = predictions(model, batch)
                drawn = torch.multinomial(now.detach().exp(), 1, generator=generator)
                now.gather(1, drawn).sum().backward()  # type: ignore[no-untyped-call]
            count += len(now)
            advance(len(batch.ids))
    return {name: total / max(1, count) for name, total in found.items()}


@contextmanager
def _watched(
    model: Model, names: Sequence[str], look: Callable[[str, Tensor, Tensor], None]
) -> Iterator[None]:
    """Show, as gradients come back, what matrices read, and the gradients by what they write.

    Args:
        model: that predicts.
        names: of the matrices.
        look: is given the name of a matrix, what it reads `[..., in]`, and the gradient
            `[..., out]`, which is nothing where there is padding.
    """

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
