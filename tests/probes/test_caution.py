"""Notes on figures that say less than they seem to."""

import json
from pathlib import Path
from typing import Any

import pytest

from endoscope.artifacts import DataRef, Evidence
from endoscope.probes import ProbeData
from endoscope.probes.caution import cautioned

NOWHERE = DataRef(name="other", sha256="0" * 64, rows=1)


def data(folder: Path, *labels: str) -> ProbeData:
    rows = [{"id": i, "text": "text", "label": label} for i, label in enumerate(labels)]
    return read(folder, rows)


def spans(folder: Path, n: int, labelled: int) -> ProbeData:
    rows = [
        {"id": i, "text": "text", "spans": [[0, 4, "X"]] if i < labelled else []} for i in range(n)
    ]
    return read(folder, rows)


def read(folder: Path, rows: list[dict[str, Any]]) -> ProbeData:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ProbeData.read(path)


def note(
    data: ProbeData, labels: tuple[str, ...], fitted_on: DataRef = NOWHERE, fpr: float = 0.05
) -> str | None:
    figures = [
        Evidence(metric=m, value=1, low=1, high=1, n=len(data), data=data.ref, split="all")
        for m in ("auroc", "ece")
    ]
    notes = {figure.note for figure in cautioned(figures, data, labels, fitted_on, fpr)}
    assert len(notes) == 1
    return notes.pop()


def test_enough_examples_need_no_note(tmp_path: Path) -> None:
    assert note(data(tmp_path, *"ab" * 20), ("a", "b")) is None
    assert note(spans(tmp_path, 20, 20), ("O", "X")) is None


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ("a" * 20 + "b" * 19, "(19 of b)"),
        ("a" * 3 + "b" * 20, "(3 of a)"),
        ("a" * 9 + "b" * 9, "(18 documents, 9 of a, 9 of b)"),
        ("a" * 40, "(0 of b)"),
    ],
)
def test_few_documents_are_counted(tmp_path: Path, labels: str, named: str) -> None:
    assert named in str(note(data(tmp_path, *labels), ("a", "b")))


def test_a_false_positive_rate_needs_negatives(tmp_path: Path) -> None:
    given = data(tmp_path, *"ab" * 50)
    assert note(given, ("a", "b"), fpr=0.02) is None
    assert "50 documents without the label" in str(note(given, ("a", "b"), fpr=0.01))


def test_few_spans_are_counted(tmp_path: Path) -> None:
    assert "(19 of X)" in str(note(spans(tmp_path, 40, 19), ("O", "X")))
    assert "(5 documents, 2 of X)" in str(note(spans(tmp_path, 5, 2), ("O", "X")))


def test_the_file_that_was_fitted_on_is_known_by_its_hash(tmp_path: Path) -> None:
    given = data(tmp_path, *"ab" * 100)
    renamed = given.ref.model_copy(update={"name": "else.jsonl"})
    assert "was fitted on this file" in str(note(given, ("a", "b"), renamed))
    held_out = given.take(range(100), "test")
    assert note(held_out, ("a", "b"), given.ref) is None
