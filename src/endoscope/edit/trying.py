"""What a model, as it is or changed, predicts in passages."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from endoscope.edit.inputs import Batch, batches
from endoscope.edit.passage import Passage
from endoscope.engine import Model
from endoscope.engine.hooks import PackedRows, visiting
from endoscope.interventions import Operator
from endoscope.models import Site

Floats = NDArray[np.float64]


Runs = Callable[[], AbstractContextManager[Model]]
"""Runs a model, changed or not, within a `with` block."""


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
    with _intervening(model, batch):
        read = anatomy.base(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    predicted: Tensor = anatomy.logits(read[batch.predicting]).float().log_softmax(-1)
    return predicted


@contextmanager
def _intervening(model: Model, batch: Batch) -> Iterator[None]:
    """Do to a batch what the model's interventions do, each text being a prompt."""
    compiled = model.engine.compile(model.interventions)
    if not compiled.sites:
        yield
        return
    operator = Operator(model.device, model.dtype)
    operator.admit(1, compiled, prompt_length=batch.ids.shape[1])
    packed = PackedRows.of(batch.mask, torch.ones(len(batch.ids), dtype=torch.long).to(batch.ids))

    def visit(site: Site, value: Tensor) -> Tensor:
        rows = operator(site, packed.pack(value), packed.slots, packed.positions)
        return packed.put(value, rows)

    with ExitStack() as hooks:
        for site in operator.sites:
            hooks.enter_context(visiting(model.loaded.anatomy, site, visit))
        yield
