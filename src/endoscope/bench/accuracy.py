"""Labelled text to compare each side's spans on."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from endoscope.errors import InputError
from endoscope.probes import ProbeData

# What data sets call it, and what we do. Other labels of a data set are left out of account.
GOLD = {
    "PERSON": "NAME",
    "PER": "NAME",
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "IP_ADDRESS": "IP",
    "CREDIT_CARD": "ID",
    "IBAN_CODE": "ID",
    "US_SSN": "ID",
    "US_DRIVER_LICENSE": "ID",
}
GROUPS = {"names": ("NAME",), "structured types": ("EMAIL", "PHONE", "ID", "IP")}

Spans = Sequence[tuple[int, int, str]]


class Corpus(NamedTuple):
    """Texts, and the spans that are right where that is known.

    Attributes:
        name: what it is called in the rows.
        language: `en` or `ja`.
        texts: the texts.
        gold: for each text its spans, by our labels.
    """

    name: str
    language: str
    texts: list[str]
    gold: list[Spans] | None = None

    @property
    def groups(self) -> list[str]:
        """Which groups of labels the spans have any of."""
        labels = {label for spans in self.gold or [] for _, _, label in spans}
        return [name for name, members in GROUPS.items() if labels & set(members)]


def read(path: Path, most: int, seed: int = 0) -> Corpus:
    """Read labelled documents, a random choice of them where there are more.

    Raises:
        InputError: the file cannot be read, or has no spans of a kind that can be compared.
    """
    documents = list(ProbeData.read(path).documents)
    if len(documents) > most:
        documents = Random(seed).sample(documents, most)
    known = {*GOLD.values(), *GOLD}
    gold: list[Spans] = [
        [(s.start, s.end, GOLD.get(s.label, s.label)) for s in d.spans or () if s.label in known]
        for d in documents
    ]
    corpus = Corpus(path.stem, "en", [str(d.content) for d in documents], gold)
    if not corpus.groups:
        raise InputError(
            f"{path.name} has no span whose label can be compared.",
            f"Use the labels {', '.join(sorted(set(GOLD.values())))}.",
        )
    return corpus
