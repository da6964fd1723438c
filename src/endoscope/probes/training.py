"""Training a head through the pooling that it is used with."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from endoscope.readouts import Pooling

EPOCHS, PATIENCE, BATCH, RATE = 40, 5, 32, 5e-3


class Batch(NamedTuple):
    """Tokens of several documents: features `[tokens, n_features]`, documents `[tokens]`."""

    features: Tensor
    documents: Tensor


Forward = Callable[[list[Tensor], Batch], Tensor]
"""From parameters and a batch to logits `[tokens, labels]`."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work with one thread meanwhile.

    Training makes thousands of small tensors. More threads gain nothing on them, and where other
    work keeps the cores busy, each waits for the last of them, time and again.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pool_batch(logits: Tensor, documents: Tensor, pooling: Pooling) -> Tensor:
    """Return the log-odds `[documents, labels]` of the documents in a batch, in order."""
    _, counts = torch.unique_consecutive(documents, return_counts=True)
    return torch.stack([pooling(part) for part in torch.split(logits, counts.tolist())])


@one_thread()
def train_through_pooling(
    parameters: list[Tensor],
    forward: Forward,
    pooling: Pooling,
    read: Callable[[Sequence[int]], Batch],
    classes: Tensor,
    weights: Tensor,
    train: Sequence[int],
    validation: Sequence[int],
    *,
    penalty: float,
    seed: int,
) -> list[Tensor]:
    """Minimise the cross-entropy of pooled log-odds with Adam, and stop when validation says so.

    Args:
        parameters: where to start.
        forward: parameters and a batch to token logits.
        pooling: token logits to those of documents.
        read: documents to their standardised features.
        classes: `[documents]`, of all documents.
        weights: `[documents]`, likewise.
        train: documents to fit.
        validation: documents to stop on.
        penalty: weight decay (decoupled, Loshchilov & Hutter 2019).
        seed: of the order of documents.

    Returns:
        The parameters with the lowest loss on validation.
    """
    parameters = [parameter.clone().requires_grad_() for parameter in parameters]
    adam = torch.optim.AdamW(parameters, lr=RATE, weight_decay=penalty)
    generator = torch.Generator().manual_seed(seed)

    def loss_of(documents: Sequence[int]) -> Tensor:
        batch = read(documents)
        odds = pool_batch(forward(parameters, batch), batch.documents, pooling)
        share = weights[list(documents)]
        losses = functional.cross_entropy(odds, classes[list(documents)], reduction="none")
        return (losses * share).sum() / share.sum()

    def validation_loss() -> float:
        parts = [validation[i : i + BATCH] for i in range(0, len(validation), BATCH)]
        with torch.no_grad():
            masses = [float(weights[list(part)].sum()) for part in parts]
            losses = [float(loss_of(part)) for part in parts]
        return sum(m * x for m, x in zip(masses, losses, strict=True)) / sum(masses)

    best, lowest, waited = [p.detach().clone() for p in parameters], validation_loss(), 0
    for _ in range(EPOCHS):
        order = torch.randperm(len(train), generator=generator).tolist()
        for start in range(0, len(order), BATCH):
            adam.zero_grad()
            # Ascending, as documents are everywhere.
            loss_of(sorted(train[i] for i in order[start : start + BATCH])).backward()  # type: ignore[no-untyped-call]
            adam.step()
        loss = validation_loss()
        if loss < lowest:
            best, lowest, waited = [p.detach().clone() for p in parameters], loss, 0
        elif (waited := waited + 1) > PATIENCE:
            break
    return best
