"""Labelled activations: what a head is fitted on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from endoscope.activations import Activations
from endoscope.errors import InputError
from endoscope.readouts import FeatureSpec

ROWS_AT_ONCE = 8192  # of which features are made
NAMED = 5  # documents that an error names


@dataclass(frozen=True)
class Labelled:
    """The activations of documents, which of them become features, and their classes.

    Attributes:
        acts: with the sites of `spec`.
        spec: which rows become features.
        classes: `[tokens]` or `[documents]`, indices into `labels`.
        labels: names of the classes; the first means "nothing here".
        train: indices of the documents to fit on, ascending.
        validation: those on which to choose, calibrate and set thresholds, ascending.
    """

    acts: Activations
    spec: FeatureSpec
    classes: Tensor
    labels: tuple[str, ...]
    train: Sequence[int]
    validation: Sequence[int]

    @cached_property
    def documents(self) -> Tensor:
        """The document of each token, `[tokens]`; -1 for special tokens."""
        return text_documents(self.acts)

    def rows(self, document: int) -> Tensor:
        """Return which tokens are the text of a document, ascending."""
        return document_rows(self.acts, self.documents, document)

    def features(self, rows: Tensor) -> Tensor:
        """Return the features of some tokens, `[rows, n_features]` float32."""
        features = torch.empty(len(rows), self.spec.width(self.acts.d_model))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            features[start : start + len(part)] = self.spec.at(
                self.acts.values, self.documents, part
            )
        return features

    def pooled(self, chosen: Sequence[int], *, last: bool) -> Tensor:
        """Return the mean features of each document, or those of its last token; float32."""
        pooled = torch.empty(len(chosen), self.spec.width(self.acts.d_model))
        for i, document in enumerate(chosen):
            rows = self.rows(document)
            pooled[i] = self.features(rows[-1:] if last else rows).mean(0)
        return pooled


def text_documents(acts: Activations) -> Tensor:
    """Return the document of each token, with -1 for special tokens, which stand for no text.

    They are neither trained on nor scored (BOS is an attention sink with a norm of its own), and
    no feature looks ahead into them.
    """
    special = acts.offsets[:, 0] >= acts.offsets[:, 1]
    return acts.documents.masked_fill(special, -1)


def document_rows(acts: Activations, documents: Tensor, document: int) -> Tensor:
    """Return which rows are the text of a document, ascending."""
    rows = acts.rows(document)
    inside: Tensor = torch.nonzero(documents[rows] >= 0).squeeze(1)
    return inside + int(rows.start)


def check_readable(acts: Activations, chosen: Iterable[int]) -> None:
    """Refuse documents without tokens of text: there is nothing of them to judge.

    A text may have none although it is not empty: some vocabularies lack a few characters.

    Args:
        acts: of documents, those among them.
        chosen: indices of the documents to look at.

    Raises:
        InputError: names the first few.
    """
    counts = torch.bincount(text_documents(acts) + 1, minlength=len(acts.document_ids) + 1)[1:]
    empty = [acts.document_ids[i] for i in chosen if not counts[i]]
    if empty:
        named = ", ".join(repr(name) for name in empty[:NAMED])
        more = f" and {len(empty) - NAMED:,} more" if len(empty) > NAMED else ""
        raise InputError(
            f"Documents without tokens cannot be judged: {named}{more}.",
            "The model's vocabulary has nothing for their text: leave them out.",
        )
