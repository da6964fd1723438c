"""Counting what a probe or a guard found against what there is to find."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from endoscope.documents import LabelledSpan
from endoscope.readouts import TokenScores

Counts = NDArray[np.int64]
"""`[..., 3]`: how many were found, wrongly found, and missed."""
AnySpan = tuple[int, int, str] | tuple[int, int, str, float]
"""Start and end of some characters, their label, and perhaps a score."""


def count(guess: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Counts:
    """Count what was found, wrongly found, and missed, `[3]`."""
    return np.array([(guess & truth).sum(), (guess & ~truth).sum(), (~guess & truth).sum()])


def count_tokens(guess: Tensor, truth: Tensor, n_labels: int) -> Counts:
    """Count tokens of each label after the first, `[labels - 1, 3]`.

    Args:
        guess: `[n]` classes that the probe gives.
        truth: `[n]` classes.
        n_labels: number of classes.
    """
    g, t = guess.numpy(), truth.numpy()
    return np.stack([count(g == label, t == label) for label in range(1, n_labels)])


def count_characters(
    text: str, found: Iterable[AnySpan], right: Iterable[AnySpan], labels: Sequence[str]
) -> Counts:
    """Count characters of each label, `[labels, 3]`; white space counts for nothing.

    Args:
        text: the text.
        found: spans that somebody found in it.
        right: the right ones.
        labels: which to look at.
    """
    solid = np.array([not character.isspace() for character in text], dtype=bool)
    guess, truth = (_masks(spans, labels, solid) for spans in (found, right))
    return np.stack([count(g, t) for g, t in zip(guess, truth, strict=True)])


def _masks(
    spans: Iterable[AnySpan], labels: Sequence[str], solid: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return for each label which characters its spans cover, `[labels, characters]`."""
    rows = {label: row for row, label in enumerate(labels)}
    masks = np.zeros((len(rows), len(solid)), dtype=bool)
    for start, end, label, *_ in spans:
        if label in rows:
            masks[rows[label], start:end] = True
    return masks & solid


def likeliest_spans(scores: TokenScores) -> list[LabelledSpan]:
    """Return the characters of each token whose likeliest label is not "nothing".

    Where several tokens make up one character, it goes to the first of them.
    """
    spans, done = [], 0
    classes = scores.probabilities.argmax(dim=1).tolist()
    for (start, end), label in zip(scores.offsets.tolist(), classes, strict=True):
        if label:
            spans.append(LabelledSpan(max(start, done), end, scores.labels[label]))
            done = end
    return spans


def f1(counts: Counts) -> float:
    """Return F1; NaN where there is nothing to find and nothing was found."""
    found, false, missed = counts.tolist()
    return 2 * found / (2 * found + false + missed) if found + false + missed else float("nan")


def precision(counts: Counts) -> float:
    """Return precision; NaN where nothing was found."""
    found, false, _ = counts.tolist()
    return found / (found + false) if found + false else float("nan")


def recall(counts: Counts) -> float:
    """Return recall; NaN where there is nothing to find."""
    found, _, missed = counts.tolist()
    return found / (found + missed) if found + missed else float("nan")
