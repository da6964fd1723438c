"""Real text to measure on. It never trains anything that ships.

The sets are not part of the project: give the folder that holds them. Even rows choose thresholds,
odd rows give the figures on the card.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from endoscope.artifacts import Evidence
from endoscope.probes import (
    LabelledSpan,
    ProbeData,
    bootstrap_interval,
    count_characters,
    f1,
    precision,
    recall,
)

Counts = NDArray[np.int64]
Found = Sequence[tuple[int, int, str]]

_PERSON = {"PERSON": "NAME"}
_STRUCTURED = {
    "STREET_ADDRESS": "ADDRESS",
    "ZIP_CODE": "ADDRESS",
    "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL",
    "CREDIT_CARD": "ID",
    "IBAN_CODE": "ID",
    "US_SSN": "ID",
    "US_DRIVER_LICENSE": "ID",
    "IP_ADDRESS": "IP",
}


class DevSet(NamedTuple):
    """A data set, and what its labels are called here. Labels without a name do not count."""

    file: str
    language: str
    labels: dict[str, str]
    licence: str

    @property
    def name(self) -> str:
        """The file without its ending."""
        return Path(self.file).stem


DEV_SETS = (
    DevSet("ja_wikipedia_names.jsonl", "ja", _PERSON, "CC BY-SA 3.0"),
    DevSet("ja_gsd_dev.jsonl", "ja", _PERSON, "CC BY-SA 4.0"),
    DevSet("en_wikipedia_dev.jsonl", "en", _PERSON, "CC BY 4.0"),
    DevSet("en_social_dev.jsonl", "en", _PERSON, "CC BY 4.0"),
    DevSet("en_structured_synthetic.jsonl", "en", _PERSON | _STRUCTURED, "MIT"),
)
GROUPS = {
    "names": ("NAME",),
    "structured": ("ADDRESS", "EMAIL", "PHONE", "ID", "IP"),
    "structured, no addresses": ("EMAIL", "PHONE", "ID", "IP"),
}


class Gold(NamedTuple):
    """Texts of a development set with their spans, under our labels."""

    dev: DevSet
    data: ProbeData

    @property
    def spans(self) -> list[Sequence[LabelledSpan]]:
        """The spans of each text."""
        return [document.spans or () for document in self.data.documents]

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return [str(content) for content in self.data.contents]

    def half(self, part: str) -> "Gold":
        """Return the even rows (`choice`) or the odd ones (`figures`)."""
        rows = range(0 if part == "choice" else 1, len(self.data), 2)
        return Gold(self.dev, self.data.take(rows, part))


def read(folder: Path, languages: Iterable[str], most: int | None = None) -> list[Gold]:
    """Read the development sets of some languages, at most so many rows of each."""
    return [_read(folder, dev, most) for dev in DEV_SETS if dev.language in set(languages)]


def _read(folder: Path, dev: DevSet, most: int | None) -> Gold:
    data = ProbeData.read(folder / dev.file)
    if most is not None and len(data) > most:
        step = len(data) / most
        data = data.take([int(i * step) for i in range(most)], data.part)
    ours = tuple(replace(d, spans=_renamed(d.spans or (), dev.labels)) for d in data.documents)
    return Gold(dev, replace(data, name=dev.name, documents=ours))


def _renamed(spans: Sequence[LabelledSpan], labels: dict[str, str]) -> tuple[LabelledSpan, ...]:
    return tuple(s._replace(label=labels[s.label]) for s in spans if s.label in labels)


def measure(gold: Gold, found: Sequence[Found], note: str, baseline: str | None) -> list[Evidence]:
    """Return character-level F1, precision and recall of each group of labels, with intervals."""
    evidence = []
    for group, labels in GROUPS.items():
        if not any(label in labels for spans in gold.spans for _, _, label in spans):
            continue
        table = np.stack(
            [
                count_characters(text, spans, right, labels).sum(0)
                for text, spans, right in zip(gold.texts, found, gold.spans, strict=True)
            ]
        )
        for metric, figure in (("f1", f1), ("precision", precision), ("recall", recall)):
            evidence.append(
                _evidence(gold, table, f"{metric}_characters", figure, group, note, baseline)
            )
    return evidence


def _evidence(
    gold: Gold,
    table: Counts,
    metric: str,
    figure: Callable[[Counts], float],
    group: str,
    note: str,
    baseline: str | None,
) -> Evidence:
    def of(rows: Counts) -> float:
        return float(np.nan_to_num(figure(table[rows].sum(0))))  # nothing was found: 0

    value = of(np.arange(len(table)))
    low, high = bootstrap_interval(of, len(table))
    return Evidence(
        metric=metric,
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=len(table),
        data=gold.data.ref.model_copy(update={"licence": gold.dev.licence}),
        split=gold.data.part,
        label=group,
        note=note or None,
        baseline=baseline,
    )
