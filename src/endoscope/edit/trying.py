"""Trying an edit on a model before it is written: the model runs changed, and is read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from endoscope.edit.changes import Change, Changes
from endoscope.edit.inputs import Batch, batches
from endoscope.edit.task import Passage
from endoscope.engine import Model

Floats = NDArray[np.float64]


Runs = Callable[[], AbstractContextManager[Model]]
"""Runs a model, changed or not, within a `with` block."""


@contextmanager
def changed(model: Model, changes: Changes) -> Iterator[Model]:
    """Run a model with changes of its matrices, within a `with` block; its weights stay.

    Args:
        model: whose module is run.
        changes: of matrices that are modules of their own (not of experts that share one).
    """
    module = model.loaded.module
    handles = [
        module.get_submodule(name).register_forward_hook(_adding(change, model))
        for name, change in changes.items()
    ]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _adding(change: Change, model: Model) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    outer, inner = (one.to(model.device, model.dtype) for one in change[:2])
    shift = None if change.shift is None else change.shift.to(model.device, model.dtype)

    def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        given = args[0]
        read = given @ inner.T if given.is_floating_point() else inner.T[given]
        added = read @ outer.T
        return output + (added if shift is None else added + shift)

    return hook


@torch.no_grad()
def divergences(before: Model, after: Runs, passages: Sequence[Passage]) -> Floats:
    """Return how far predictions of two models are apart: KL(before || after) in nats a token.

    Args:
        before: the one model.
        after: runs the other, which may be the same, changed.
        passages: texts, with the spans whose tokens are predicted.

    Returns:
        The mean over the tokens of each passage that has some, `[passages]`.
    """
    found = []
    for batch in batches(before, passages):
        left = predictions(before, batch)
        with after() as model:
            right = predictions(model, batch)
        found += _means((left.exp() * (left - right)).sum(-1), batch)
    return np.array(found)


@torch.no_grad()
def likelihoods(model: Model, passages: Sequence[Passage]) -> Floats:
    """Return how likely a model, as it is now, finds what counts in passages, in nats a token.

    Args: as of `divergences`.

    Returns:
        The mean over the tokens of each passage that has some, `[passages]`.
    """
    found = []
    for batch in batches(model, passages):
        predicted = predictions(model, batch)
        following = batch.ids[:, 1:][batch.predicting[:, :-1]]
        found += _means(predicted.gather(1, following[:, None])[:, 0], batch)
    return np.array(found)


def _means(values: Tensor, batch: Batch) -> list[float]:
    """Return the mean of the values of each passage's tokens that count."""
    counts = batch.predicting.sum(1).tolist()
    return [float(some.double().mean()) for some in torch.split(values, counts) if len(some)]


def predictions(model: Model, batch: Batch) -> Tensor:
    """Return the log-probabilities of the tokens that count, `[tokens, vocabulary]`."""
    anatomy = model.loaded.anatomy
    read = anatomy.base(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    predicted: Tensor = anatomy.logits(read[batch.predicting]).float().log_softmax(-1)
    return predicted
