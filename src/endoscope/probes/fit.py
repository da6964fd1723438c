"""Fitting a head, its calibration and its thresholds from activations."""

from collections.abc import Sequence

import torch
from torch import Tensor

from endoscope.activations import Activations
from endoscope.errors import InputError
from endoscope.logistic import Rows
from endoscope.probes.fit_documents import fit_documents
from endoscope.probes.labelled import Labelled
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
from endoscope.readouts import FeatureSpec, Pooling


def fit_activations(
    acts: Activations,
    classes: Tensor,
    labels: tuple[str, ...],
    spec: FeatureSpec,
    *,
    train: Sequence[int],
    validation: Sequence[int],
    pooling: Pooling | None = None,
    options: FitOptions | None = None,
) -> Fitted:
    """Fit a head on the activations of labelled documents.

    Args:
        acts: with the sites of `spec`.
        classes: without pooling `[tokens]`, a class for every row of `acts`; with pooling
            `[documents]`. Indices into `labels`.
        labels: names of the classes; the first means "nothing here".
        spec: which rows become features.
        train: indices of the documents to fit on.
        validation: those on which to choose, calibrate and set thresholds.
        pooling: makes it a probe of whole documents.
        options: how to fit.

    Raises:
        InputError: a class is missing from train or validation, a document to judge has no tokens,
            or the head does not go with token labels.
    """
    options = options or FitOptions()
    data = Labelled(acts, spec, classes, labels, sorted(train), sorted(validation))
    if pooling is None:
        return _fit_tokens(data, options)
    return fit_documents(data, pooling, options)


def _fit_tokens(data: Labelled, options: FitOptions) -> Fitted:
    if options.head == "attention":
        raise InputError(
            "The attention head judges text as a whole, so it cannot learn spans.",
            "Use logistic or mass_mean, or give documents with labels.",
        )
    generator = torch.Generator().manual_seed(options.seed)
    classes, labels = data.classes, data.labels
    train_rows, check_rows = (_rows_of(data, part) for part in (data.train, data.validation))
    check_classes(classes, (train_rows, check_rows), labels)
    balance = class_weights(classes[train_rows], len(labels), options)
    train_rows, stands_for = _sample(train_rows, classes, options.max_rows, generator)
    # Not by class: calibration and thresholds are about text as it comes.
    check_rows = _some(check_rows, options.max_rows // 2, generator)

    features = data.features(train_rows)
    scaler = Scaler.of(features)
    truth = classes[train_rows]
    fit_on = Rows(scaler(features), truth, stands_for * balance[truth])
    truth = classes[check_rows]
    check_on = Rows(scaler(data.features(check_rows)), truth, balance[truth])

    fitted = fit_affine(fit_on, check_on, len(labels), options)
    head = linear_head(fitted, scaler, labels, options)
    return calibrated(head, fitted.penalty, fitted(check_on.features), truth, options)


def _rows_of(data: Labelled, chosen: Sequence[int]) -> Tensor:
    return torch.nonzero(torch.isin(data.documents, torch.tensor(chosen))).squeeze(1)


def _some(rows: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    if len(rows) <= limit:
        return rows
    return rows[torch.randperm(len(rows), generator=generator)[:limit]]


def _sample(
    rows: Tensor, classes: Tensor, limit: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return at most `limit` rows, labelled ones first, and how many rows each stands for."""
    nothing = classes[rows] == 0
    labelled, others = rows[~nothing], rows[nothing]
    room = min(len(others), max(limit - len(labelled), limit // 2))
    kept, stands_for = [], []
    for part, most in ((labelled, limit - room), (others, room)):
        some = _some(part, most, generator)
        kept.append(some)
        stands_for.append(torch.full((len(some),), len(part) / max(1, len(some))))
    both, weights = torch.cat(kept), torch.cat(stands_for)
    order = both.argsort()
    return both[order], weights[order]
