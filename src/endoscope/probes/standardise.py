"""Features of chosen tokens, brought to mean 0 and variance 1, and how a head undoes that."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from endoscope.activations import Activations
from endoscope.probes.logistic import Affine
from endoscope.readouts import FeatureSpec

CHUNK = 8192


def text_documents(acts: Activations) -> Tensor:
    """Return the document of each token, with -1 for special tokens, which stand for no text.

    They are neither trained on nor scored (BOS is an attention sink with a norm of its own), and
    no feature looks ahead into them.
    """
    special = acts.offsets[:, 0] >= acts.offsets[:, 1]
    return acts.documents.masked_fill(special, -1)


def raw_features(acts: Activations, spec: FeatureSpec, documents: Tensor, rows: Tensor) -> Tensor:
    """Return the features of some tokens, `[rows, n_features]` float32."""
    features = torch.empty(len(rows), spec.width(acts.d_model))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        features[start : start + len(part)] = spec.at(acts.values, documents, part).float()
    return features


def pooled_features(
    acts: Activations,
    spec: FeatureSpec,
    documents: Tensor,
    chosen: Sequence[int],
    last: bool,
) -> Tensor:
    """Return the mean features of each document, or those of its last token; float32."""
    pooled = torch.empty(len(chosen), spec.width(acts.d_model))
    for i, document in enumerate(chosen):
        rows = document_rows(acts, documents, document)
        pooled[i] = raw_features(acts, spec, documents, rows[-1:] if last else rows).mean(0)
    return pooled


def document_rows(acts: Activations, documents: Tensor, document: int) -> Tensor:
    """Return which rows are the text of a document, ascending."""
    rows = acts.rows(document)
    inside: Tensor = torch.nonzero(documents[rows] >= 0).squeeze(1)
    return inside + int(rows.start)


@dataclass(frozen=True)
class Scaler:
    """Feature means and standard deviations, `[n_features]` each."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Scaler":
        """Measure the features `[rows, n_features]`."""
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        # A feature that never changes tells nothing: leave it at 0 rather than divide by nothing.
        return cls(mean, torch.where(deviation > 1e-6, deviation, torch.inf))

    def __call__(self, features: Tensor) -> Tensor:
        """Standardise features in place, and return them."""
        return features.sub_(self.mean).div_(self.deviation)

    def fold(self, fitted: Affine) -> tuple[Tensor, Tensor]:
        """Return weight and bias that do on raw features what these do on standardised ones."""
        return self.fold_weight(fitted.weight), fitted.bias - self.offset(fitted.weight)

    def fold_weight(self, weight: Tensor) -> Tensor:
        """Return a weight for raw features; `offset` is what it has to be lowered by."""
        return (weight.double() / self.deviation.double()).float()

    def offset(self, weight: Tensor) -> Tensor:
        """Return the product of the folded weight and the means."""
        return (self.fold_weight(weight).double() @ self.mean.double()).float()
