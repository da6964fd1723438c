"""GiNZA with its standard model."""

from collections.abc import Callable
from typing import Any

import spacy

LABELS = {
    "Person": "NAME",
    "Email": "EMAIL",
    "Phone_Number": "PHONE",
    "Postal_Address": "ADDRESS",
    "ID_Number": "ID",
}


Spans = list[tuple[int, int, str, float]]


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[Spans]], dict[str, Any]]:
    """Open the model, with the components that find entities and no others."""
    nlp = spacy.load("ja_ginza")
    nlp.select_pipes(enable=["tok2vec", "ner"])
    texts = setup["texts"]

    def together() -> list[Spans]:
        return [spans(doc) for doc in nlp.pipe(texts)]

    def one_by_one() -> list[Spans]:
        return [spans(nlp(text)) for text in texts]

    packages = ["ginza", "ja-ginza", "spacy", "SudachiPy"]
    return (one_by_one if setup["one_by_one"] else together), {"packages": packages}


def spans(doc: Any) -> Spans:
    """Keep what has a label that we have too."""
    return [
        (entity.start_char, entity.end_char, LABELS[entity.label_], 1.0)
        for entity in doc.ents
        if entity.label_ in LABELS
    ]
