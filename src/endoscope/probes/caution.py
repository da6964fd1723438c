"""What a reader of figures must know about the documents that they were measured on."""

from collections.abc import Sequence

from endoscope.artifacts import DataRef, Evidence
from endoscope.probes.data import ProbeData

FEW = 20  # examples, below which a figure is said to be rough


def cautioned(
    evidence: Sequence[Evidence],
    data: ProbeData,
    labels: Sequence[str],
    fitted_on: DataRef,
    fpr: float,
) -> list[Evidence]:
    """Return the figures, with a note where they say less than they seem to.

    Args:
        evidence: measured on `data`.
        data: documents with labels or spans.
        labels: classes of the probe; the first means "nothing here".
        fitted_on: the data on the probe's card.
        fpr: the false positive rate that its thresholds were set for.
    """
    notes = []
    if (data.sha256, len(data)) == (fitted_on.sha256, fitted_on.rows):
        notes.append(
            "The probe was fitted on this file: the figures say how well it remembers, not how "
            "well it will do. Measure on other documents."
        )
    if few := _few(data, labels):
        notes.append(
            f"Few examples to measure on ({few}): with fewer than {FEW} the figures are rough, "
            "even where the interval is narrow. Give more labelled documents."
        )
    negatives = min(len(data) - data.counts()[label] for label in labels[1:])
    if data.level == "document" and fpr * negatives < 1:
        notes.append(
            f"{negatives} documents without the label cannot show a false positive rate of "
            f"{fpr:g}: one of them alone is {1 / max(negatives, 1):.1%}."
        )
    if not notes:
        return list(evidence)
    return [figure.model_copy(update={"note": " ".join(notes)}) for figure in evidence]


def _few(data: ProbeData, labels: Sequence[str]) -> str:
    """Name what there are few of, or nothing."""
    counts = data.counts()
    known = labels if data.level == "document" else labels[1:]
    found = [f"{counts[label]} of {label}" for label in known if counts[label] < FEW]
    return ", ".join([f"{len(data)} documents", *found] if len(data) < FEW else found)
