"""Fitting heads that judge whole documents."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from endoscope.logistic import Affine, Rows
from endoscope.probes.labelled import Labelled, check_readable
from endoscope.probes.options import (
    FitOptions,
    Fitted,
    calibrated,
    check_classes,
    class_weights,
    fit_affine,
    linear_head,
)
from endoscope.probes.standardise import Scaler
from endoscope.probes.training import Batch, train_through_pooling
from endoscope.readouts import AttentionHead, Head, Pooling
from endoscope.readouts.heads import rolling_attention


def fit_documents(data: Labelled, pooling: Pooling, options: FitOptions) -> Fitted:
    """Fit a head through its pooling."""
    check_readable(data.acts, (*data.train, *data.validation))
    classes, labels = data.classes, data.labels
    parts = [torch.tensor(part, dtype=torch.long) for part in (data.train, data.validation)]
    check_classes(classes, parts, labels)
    balance = class_weights(classes[parts[0]], len(labels), options)
    weights = balance[classes]
    last = pooling.method == "last"
    pooled = [data.pooled(part, last=last) for part in (data.train, data.validation)]
    scaler = Scaler.of(pooled[0])
    fit_rows, check_rows = (
        Rows(scaler(x), classes[part], weights[part]) for x, part in zip(pooled, parts, strict=True)
    )
    fitted = fit_affine(fit_rows, check_rows, len(labels), options)

    head: Head
    if options.head == "mass_mean" or (
        options.head == "logistic" and pooling.method in ("mean", "last")
    ):
        # These poolings are linear: the head of the pooled features is the head of the tokens.
        head = linear_head(fitted, scaler, labels, options)
    else:
        rows_of = {document: data.rows(document) for document in (*data.train, *data.validation)}

        def read(chosen: Sequence[int]) -> Batch:
            rows = torch.cat([rows_of[document] for document in chosen])
            return Batch(scaler(data.features(rows)), data.documents[rows])

        train_head = partial(
            train_through_pooling,
            pooling=pooling,
            read=read,
            classes=classes,
            weights=weights,
            train=data.train,
            validation=data.validation,
            penalty=fitted.penalty,
            seed=options.seed,
        )
        if options.head == "attention":
            head = _train_attention(train_head, fitted, scaler, labels, options)
        else:
            weight, bias = train_head(
                list(fitted[:2]), lambda p, batch: torch.addmm(p[1], batch.features, p[0].T)
            )
            head = linear_head(Affine(weight, bias, fitted.penalty), scaler, labels, options)

    logits = _validation_logits(head, data, pooling)
    return calibrated(head, fitted.penalty, logits, classes[parts[1]], options)


def _train_attention(
    train_head: "partial[list[Tensor]]",
    start: Affine,
    scaler: Scaler,
    labels: tuple[str, ...],
    options: FitOptions,
) -> AttentionHead:
    """Start as the mean over the window, each query with its share of the logistic fit."""
    odds = start.weight[1:] - start.weight[:1]
    generator = torch.Generator().manual_seed(options.seed)
    size = (options.queries, odds.shape[1])
    query = torch.randn(size, generator=generator) / odds.shape[1]  # apart, so that they can differ
    value = (odds / options.queries).expand(options.queries, *odds.shape).clone()
    bias = start.bias[1:] - start.bias[:1]

    def forward(parameters: list[Tensor], batch: Batch) -> Tensor:
        query, value, bias = parameters
        return rolling_attention(*batch, query, value, bias, options.window)

    query, value, bias = train_head([query, value, bias], forward)
    # Attention sums to 1, so what the means contribute through the values is a constant; what they
    # contribute to the attention is the same for every token and cancels.
    return AttentionHead(
        scaler.fold_weight(query),
        scaler.fold_weight(value),
        bias - scaler.offset(value).sum(0),
        labels,
        options.window,
    )


def _validation_logits(head: Head, data: Labelled, pooling: Pooling) -> Tensor:
    """Return the pooled log-odds of the validation documents, `[documents, labels]` float64."""
    pooled = torch.zeros(len(data.validation), len(head.labels), dtype=torch.float64)
    for i, document in enumerate(data.validation):
        pooled[i] = pooling(head(data.features(data.rows(document))))
    return pooled
