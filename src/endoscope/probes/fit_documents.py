"""Fitting heads that judge whole documents."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from endoscope.activations import Activations
from endoscope.probes.calibrate import fit_calibration
from endoscope.probes.logistic import Affine, Rows
from endoscope.probes.options import (
    FitOptions,
    Fitted,
    check_classes,
    class_weights,
    fit_affine,
    linear_head,
    thresholds_for,
)
from endoscope.probes.standardise import (
    Scaler,
    document_rows,
    pooled_features,
    raw_features,
    text_documents,
)
from endoscope.probes.training import Batch, train_through_pooling
from endoscope.readouts import AttentionHead, FeatureSpec, Head, Pooling
from endoscope.readouts.heads import rolling_attention


def fit_documents(
    acts: Activations,
    classes: Tensor,
    labels: tuple[str, ...],
    spec: FeatureSpec,
    train: Sequence[int],
    validation: Sequence[int],
    documents: Tensor,
    pooling: Pooling,
    options: FitOptions,
) -> Fitted:
    """Fit a head through its pooling; arguments as of `fit_activations`."""
    parts = [torch.tensor(sorted(part), dtype=torch.long) for part in (train, validation)]
    check_classes(classes, parts, labels)
    balance = class_weights(classes[parts[0]], len(labels), options)
    weights = balance[classes]
    last = pooling.method == "last"
    pooled = [pooled_features(acts, spec, documents, part.tolist(), last) for part in parts]
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
        rows_of = {
            document: document_rows(acts, documents, document)
            for part in parts
            for document in part.tolist()
        }

        def read(chosen: Sequence[int]) -> Batch:
            rows = torch.cat([rows_of[document] for document in chosen])
            return Batch(scaler(raw_features(acts, spec, documents, rows)), documents[rows])

        train_head = partial(
            train_through_pooling,
            pooling=pooling,
            read=read,
            classes=classes,
            weights=weights,
            train=parts[0].tolist(),
            validation=parts[1].tolist(),
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

    logits = _document_logits(head, acts, spec, pooling, parts[1].tolist())
    truth = classes[parts[1]]
    calibration = fit_calibration(logits, truth, options.calibration)
    thresholds = thresholds_for(calibration, logits, truth, labels, options)
    return Fitted(head, calibration, thresholds, fitted.penalty)


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


def _document_logits(
    head: Head,
    acts: Activations,
    spec: FeatureSpec,
    pooling: Pooling,
    chosen: Sequence[int],
) -> Tensor:
    """Return the pooled log-odds of documents, `[documents, labels]` float64."""
    documents = text_documents(acts)
    pooled = torch.zeros(len(chosen), len(head.labels), dtype=torch.float64)
    for i, document in enumerate(chosen):
        rows = document_rows(acts, documents, document)
        pooled[i] = pooling(head(spec.at(acts.values, documents, rows)))
    return pooled
