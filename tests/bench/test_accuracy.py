import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.bench import accuracy
from endoscope.errors import InputError


def test_counts_by_hand():
    text = "Ana Lee met Bo."
    found = [(0, 3, "NAME"), (8, 11, "NAME"), (12, 14, "EMAIL")]
    gold = [(0, 7, "NAME"), (12, 14, "NAME")]
    # Found: A n a. Wrong: m e t. Missed: L e e and B o; the space does not count.
    assert accuracy.counts(text, found, gold, ["NAME"]) == (3, 3, 5)
    assert accuracy.counts(text, found, gold, ["EMAIL"]) == (0, 2, 0)


spans = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["NAME", "ID"])).filter(
        lambda span: span[0] <= span[1]
    ),
    max_size=4,
)


@given(st.text(alphabet="ab \n", min_size=12, max_size=12), spans, spans)
def test_counts_agree_with_asking_each_character(text, found, gold):
    expected = [0, 0, 0]
    for index, character in enumerate(text):
        for label in ("NAME", "ID"):
            if character.isspace():
                continue
            said, right = (
                any(a <= index < b and name == label for a, b, name in side)
                for side in (found, gold)
            )
            if said or right:
                expected[0 if said and right else 1 if said else 2] += 1
    assert list(accuracy.counts(text, found, gold, ["NAME", "ID"])) == expected


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
