import json

import pytest

from endoscope.bench import accuracy
from endoscope.errors import InputError


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_reading_translates_labels_and_leaves_others_out(tmp_path):
    row = {"id": "1", "text": "Ana is at a@b.org in Rome"}
    row["spans"] = [[0, 3, "PERSON"], [10, 17, "EMAIL_ADDRESS"], [21, 25, "LOCATION"]]
    corpus = accuracy.read(write(tmp_path / "some.jsonl", [row]), most=10)
    assert corpus.name == "some"
    assert corpus.gold == [[(0, 3, "NAME"), (10, 17, "EMAIL")]]
    assert corpus.groups == ["names", "structured types"]


def test_a_sample_is_the_same_each_time_and_keeps_texts_with_their_spans(tmp_path):
    rows = [{"id": str(i), "text": f"Ana {i:03}", "spans": [[4, 7, "ID"]]} for i in range(50)]
    path = write(tmp_path / "many.jsonl", rows)
    first, second = accuracy.read(path, most=8), accuracy.read(path, most=8)
    assert first == second
    assert len(set(first.texts)) == 8


def test_data_without_comparable_labels_is_refused(tmp_path):
    rows = [{"id": "1", "text": "Rome", "spans": [[0, 4, "LOCATION"]]}]
    with pytest.raises(InputError, match="no span whose label can be compared"):
        accuracy.read(write(tmp_path / "places.jsonl", rows), most=10)
