"""What a model, as it is or changed, predicts in passages."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property

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


class Divergences:
    """Tells how far predictions are from those of one model, which reads the passages once.

    Args:
        before: the one model.
        passages: texts, with the spans whose tokens are predicted.
    """

    def __init__(self, before: Model, passages: Sequence[Passage]) -> None:
        self._before = before
        self.passages = passages

    @torch.no_grad()
    def __call__(self, after: Runs) -> Floats:
        """Return KL(before || after), in nats a token.

        Args:
            after: runs the other model, which may be the same, changed.

        Returns:
            The mean over the tokens of each passage that has some, `[passages]`.
        """
        found = []
        for batch, left in self.predicted():
            with after() as model:
                right = predictions(model, batch)
            found += mean_of_each((left.exp() * (left - right)).sum(-1), batch)
        return np.array([float(one) for one in found])

    @torch.no_grad()
    def predicted(self) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the passages with the log-probabilities of the one model, `[tokens, vocabulary]`.

        They are of the tokens that count.
        """
        for batch, states in self._read:
            yield batch, _predicted(self._before, states)

    @cached_property
    def _read(self) -> list[tuple[Batch, Tensor]]:
        """The passages, and what the one model unembeds: states take little room, logits much."""
        return [(one, _states(self._before, one)) for one in batches(self._before, self.passages)]


@torch.no_grad()
def likelihoods(model: Model, passages: Sequence[Passage]) -> Floats:
    """Return how likely a model, as it is now, finds what counts in passages, in nats a token.

    Args:
        model: as it is now.
        passages: texts, with the spans whose tokens are predicted.

    Returns:
        The mean over the tokens of each passage that has some, `[passages]`.
    """
    found = []
    for batch in batches(model, passages):
        predicted = predictions(model, batch)
        following = batch.ids[:, 1:][batch.predicting[:, :-1]]
        found += mean_of_each(predicted.gather(1, following[:, None])[:, 0], batch)
    return np.array([float(one) for one in found])


def mean_of_each(values: Tensor, batch: Batch) -> list[Tensor]:
    """Return the mean of the values of each passage's tokens that count, if it has some."""
    counts = batch.predicting.sum(1).tolist()
    return [some.mean() for some in torch.split(values, counts) if len(some)]


def predictions(model: Model, batch: Batch) -> Tensor:
    """Return the log-probabilities of the tokens that count, `[tokens, vocabulary]`."""
    return _predicted(model, _states(model, batch))


def _states(model: Model, batch: Batch) -> Tensor:
    """Return what the tokens that count are predicted from, `[tokens, d_model]`."""
    with _intervening(model, batch):
        read = model.loaded.anatomy.base(input_ids=batch.ids, attention_mask=batch.mask)
    states: Tensor = read.last_hidden_state[batch.predicting]
    return states


def _predicted(model: Model, states: Tensor) -> Tensor:
    predicted: Tensor = model.loaded.anatomy.logits(states).float().log_softmax(-1)
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
