"""Figures of a probe on held-out documents, with intervals over documents."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from endoscope.artifacts import Evidence
from endoscope.documents import token_labels
from endoscope.probes.calibrate import ece, recall_at_fpr
from endoscope.probes.counting import (
    Counts,
    count,
    count_characters,
    count_tokens,
    f1,
    likeliest_spans,
    precision,
    recall,
)
from endoscope.probes.data import ProbeData
from endoscope.readouts import TokenScores
from endoscope.statistics import auroc, bootstrap_interval


def token_evidence(data: ProbeData, scores: Sequence[TokenScores], seed: int = 0) -> list[Evidence]:
    """Return F1, precision and recall of tokens, F1 of characters, and calibration error.

    Each for every label and for all together (micro-averaged).

    Args:
        data: documents with spans.
        scores: of the same documents.
        seed: of the bootstrap.
    """
    labels = scores[0].labels
    truths = [
        token_labels(s.offsets, d.spans or (), labels)
        for d, s in zip(data.documents, scores, strict=True)
    ]
    tokens = np.stack(
        [
            count_tokens(s.probabilities.argmax(1), t, len(labels))
            for s, t in zip(scores, truths, strict=True)
        ]
    )
    characters = np.stack(
        [
            count_characters(str(d.content), likeliest_spans(s), d.spans or (), labels[1:])
            for d, s in zip(data.documents, scores, strict=True)
        ]
    )
    evidence = []
    for metric, figure, counts in (
        ("f1_tokens", f1, tokens),
        ("precision_tokens", precision, tokens),
        ("recall_tokens", recall, tokens),
        ("f1_characters", f1, characters),
    ):
        whole = counts.sum(1)
        evidence += _counted(data, metric, figure, whole, None, seed)
        for i, label in enumerate(labels[1:]):
            evidence += _counted(data, metric, figure, counts[:, i], label, seed)
    pooled = torch.cat([s.probabilities for s in scores]), torch.cat(truths)
    lengths = np.cumsum([0, *(len(t) for t in truths)])

    def error(chosen: NDArray[np.int64]) -> float:
        rows = torch.from_numpy(
            np.concatenate([np.arange(lengths[i], lengths[i + 1]) for i in chosen])
        )
        return ece(pooled[0][rows], pooled[1][rows])

    every = np.arange(len(data))
    evidence += _evidence(data, "ece_tokens", error, every, None, seed, repeats=100)
    return evidence


def document_evidence(
    data: ProbeData,
    probabilities: Tensor,
    labels: tuple[str, ...],
    thresholds: dict[str, float],
    *,
    fpr: float = 0.01,
    seed: int = 0,
) -> list[Evidence]:
    """Return recall at a false positive rate, AUROC, figures at the threshold, calibration error.

    Args:
        data: documents with labels.
        probabilities: `[documents, labels]`.
        labels: names of the classes.
        thresholds: of each label after the first, set before on other data; a document has the
            label if its probability is `>= threshold`.
        fpr: the false positive rate.
        seed: of the bootstrap.
    """
    classes = data.classes(labels)
    scores = probabilities.double().numpy()
    evidence = []
    every = np.arange(len(data))
    for i, label in enumerate(labels[1:], start=1):
        truth, score = (classes == i).numpy(), scores[:, i]
        flagged = score >= thresholds[label]
        figures = _document_figures(score, truth, flagged, fpr)
        for metric, figure in figures.items():
            evidence += _evidence(data, metric, figure, every, label, seed)
    evidence += _evidence(
        data, "ece", lambda r: ece(probabilities[r], classes[r]), every, None, seed
    )
    return evidence


def _document_figures(
    score: NDArray[np.float64], truth: NDArray[np.bool_], flagged: NDArray[np.bool_], fpr: float
) -> dict[str, Callable[[NDArray[np.int64]], float]]:
    return {
        f"recall_at_fpr_{fpr:g}": lambda rows: recall_at_fpr(score[rows], truth[rows], fpr),
        "auroc": lambda rows: auroc(score[rows], truth[rows]),
        "recall_at_threshold": lambda rows: _rate(flagged[rows][truth[rows]]),
        "fpr_at_threshold": lambda rows: _rate(flagged[rows][~truth[rows]]),
        "f1_at_threshold": lambda rows: f1(count(flagged[rows], truth[rows])),
    }


def _counted(
    data: ProbeData,
    metric: str,
    figure: Callable[[Counts], float],
    counts: Counts,
    label: str | None,
    seed: int,
) -> list[Evidence]:
    def of(chosen: NDArray[np.int64]) -> float:
        return figure(counts[chosen].sum(0))

    return _evidence(data, metric, of, np.arange(len(counts)), label, seed)


def _evidence(
    data: ProbeData,
    metric: str,
    statistic: Callable[[NDArray[np.int64]], float],
    every: NDArray[np.int64],
    label: str | None,
    seed: int,
    repeats: int = 1000,
) -> list[Evidence]:
    """Return the figure with its interval, or nothing where it is undefined."""
    value = statistic(every)
    if np.isnan(value):
        return []
    low, high = bootstrap_interval(statistic, len(every), seed=seed, repeats=repeats)
    return [
        Evidence(
            metric=metric,
            value=value,
            low=min(low, value),
            high=max(high, value),
            n=len(every),
            data=data.ref,
            split=data.part,
            label=label,
        )
    ]


def _rate(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean()) if len(hits) else float("nan")
