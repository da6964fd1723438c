"""How heads are fitted, what comes out, and the steps that all fits share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from endoscope.errors import InputError
from endoscope.logistic import Affine, Rows, fit_logistic
from endoscope.probes.calibrate import fit_calibration, threshold_at_fpr
from endoscope.probes.mass_mean import fit_mass_mean
from endoscope.probes.standardise import Scaler
from endoscope.readouts import HEADS, Calibration, Head, LogisticHead, MassMeanHead

MOST_WEIGHT = 20.0  # of a class, however rare: a few mislabelled rows must not rule the fit


@dataclass(frozen=True)
class FitOptions:
    """How a head is fitted.

    Args:
        head: `logistic`, `mass_mean` or `attention`.
        penalties: strengths of l2 to choose from on validation (`logistic`; `attention` starts
            from a logistic fit).
        balance: how far rare classes are weighted up: 0 not at all, 1 until all weigh the same.
        max_rows: tokens to train on at most; all labelled ones are kept before others, and the
            weights make up for those left out.
        window: tokens that `attention` looks over.
        queries: of `attention`.
        fpr: the false positive rate on validation that thresholds are set for. Where there are
            fewer than `1 / fpr` negatives they cannot tell, and a threshold is at least 0.5.
        seed: of everything random.
    """

    head: str = "logistic"
    penalties: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    balance: float = 0.5
    max_rows: int = 100_000
    window: int = 32
    queries: int = 4
    fpr: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise InputError(f"No head is called {self.head!r}.", f"Known: {', '.join(HEADS)}.")
        if not 0 <= self.fpr <= 1:
            raise InputError(f"{self.fpr} is no false positive rate.", "Give a number from 0 to 1.")
        if self.window < 1 or self.queries < 1 or not self.penalties:
            raise InputError("Fitting needs a window, queries and penalties.", "Give 1 or more.")


@dataclass(frozen=True)
class Fitted:
    """A fitted head and what goes with it.

    Attributes:
        head: scores raw features.
        calibration: for token logits, or for those of documents where there is a pooling.
        thresholds: for each label after the first, set for the budget of false positives on
            validation; the label is given where `probability >= threshold`.
        penalty: strength of regularisation that validation chose.
    """

    head: Head
    calibration: Calibration
    thresholds: dict[str, float]
    penalty: float


def fit_affine(train: Rows, validation: Rows, n_labels: int, options: FitOptions) -> Affine:
    """Fit the affine map that the options ask for; `attention` starts from a logistic one."""
    if options.head == "mass_mean":
        return fit_mass_mean(train, validation, n_labels)
    return fit_logistic(train, validation, n_labels, options.penalties)


def linear_head(
    fitted: Affine, scaler: Scaler, labels: tuple[str, ...], options: FitOptions
) -> LogisticHead | MassMeanHead:
    """Return a head for raw features."""
    kind = MassMeanHead if options.head == "mass_mean" else LogisticHead
    return kind(*scaler.fold(fitted), labels)


def check_classes(classes: Tensor, parts: Sequence[Tensor], labels: Sequence[str]) -> None:
    """Refuse training or validation rows (`parts`) in which a class is missing.

    Raises:
        InputError: names what is missing.
    """
    for name, rows in zip(("training", "validation"), parts, strict=True):
        counts = torch.bincount(classes[rows], minlength=len(labels))
        if missing := [labels[i] for i in torch.nonzero(counts == 0).flatten().tolist()]:
            raise InputError(
                f"The {name} documents have no example of {', '.join(missing)}.",
                "Give more documents with that label, or leave it out.",
            )


def class_weights(classes: Tensor, n_labels: int, options: FitOptions) -> Tensor:
    """Return a weight for each class, `[labels]`, 1 for the most frequent."""
    counts = torch.bincount(classes, minlength=n_labels).clamp(min=1).float()
    return (counts.max() / counts).pow(options.balance).clamp(max=MOST_WEIGHT)


def calibrated(
    head: Head, penalty: float, logits: Tensor, classes: Tensor, options: FitOptions
) -> Fitted:
    """Calibrate a head and set its thresholds.

    Args:
        head: the head.
        penalty: strength of regularisation that it was fitted with.
        logits: its own on validation, `[n, labels]`.
        classes: `[n]`, theirs.
        options: the budget of false positives.
    """
    calibration = fit_calibration(logits, classes)
    probabilities = calibration.probabilities(logits).numpy()  # float32, as when they are used
    truth = classes.numpy()
    thresholds = {
        label: _threshold(probabilities[:, i], truth == i, options.fpr)
        for i, label in enumerate(head.labels)
        if i > 0
    }
    return Fitted(head, calibration, thresholds, penalty)


def _threshold(scores: NDArray[np.float32], positive: NDArray[np.bool_], budget: float) -> float:
    # Above the highest of a few negatives there may be nothing up to the lowest positive: what lies
    # between is unknown, and a threshold down there would flag much that has not been seen.
    least = 0.5 if budget * (~positive).sum() < 1 else 0.0
    return max(least, threshold_at_fpr(scores, positive, budget))
