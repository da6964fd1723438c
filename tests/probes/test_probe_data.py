import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope.activations import Activations
from endoscope.artifacts import fingerprint_of
from endoscope.errors import InputError
from endoscope.models import Site
from endoscope.probes import Document, LabelledSpan, ProbeData, token_labels

SECRET = "Zanzibar"


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "data.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text + "\n")
    return path


def row(i: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": f"d{i}", "text": f"{SECRET} text", "label": "a"} | more


def spans(*found: Any) -> dict[str, Any]:
    return {"id": "d1", "text": f"{SECRET} text", "spans": list(found)}


def test_reads_both_kinds(tmp_path: Path) -> None:
    data = ProbeData.read(write(tmp_path, row(1), "", row(2, label=True, id=7)))
    assert data.level == "document"
    assert data.ids == ["d1", "7"]
    assert [d.label for d in data.documents] == ["a", "true"]
    data = ProbeData.read(write(tmp_path, spans([9, 13, "B"], [0, 8, "A"])))
    assert data.level == "token"
    assert data.labels() == ("O", "A", "B")
    assert data.documents[0].spans == (LabelledSpan(0, 8, "A"), LabelledSpan(9, 13, "B"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x", "text": "Zanzibar', "not valid JSON"),
        ("[1]", "not a JSON object"),
        ({"text": SECRET, "label": "a"}, '"id" is missing'),
        (row(1, id=None), '"id" is missing'),
        (row(1, id=1.5), '"id" is no text'),
        ({"id": "x", "label": "a"}, 'neither "text" nor "messages"'),
        ({"id": "x", "text": SECRET}, 'neither "label" nor "spans"'),
        (row(1, spans=[]), 'both "label" and "spans"'),
        (row(1, messages=[]), 'both "text" and "messages"'),
        (row(1, text=5), '"text" is no text'),
        (row(1, text="  "), "the text is empty"),
        (row(1, label=[SECRET]), "a label is no text"),
        (row(1, text=SECRET + "\ud800"), "lone surrogate"),
        (row(0), "the id was used on line 1"),
        (spans([0, 8]), "span 1 is malformed"),
        (spans([0, 8, "A"], [True, 9, "A"]), "span 2 is malformed"),
        (spans([9, 14, "A"]), "span 1 (9 to 14) is not within the 13 characters"),
        (spans([8, 0, "A"]), "span 1 (8 to 0)"),
        (spans([3, 3, "A"]), "span 1 (3 to 3)"),
        (spans([-1, 3, "A"]), "span 1 (-1 to 3)"),
        (spans([0, 8, "A"], [4, 9, "B"]), "spans overlap"),
        (spans([0, 8, "O"]), "means no label"),
        (spans([0, 8, "A"]), "differ in kind"),
        ({"id": "x", "messages": [{"role": "user"}], "label": "a"}, '"messages" are malformed'),
        (
            {"id": "x", "messages": [{"role": "user", "content": SECRET}], "spans": []},
            '"spans" need "text"',
        ),
    ],
)
def test_errors_name_the_line_and_never_the_text(tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        ProbeData.read(write(tmp_path, row(0), line))
    assert str(caught.value).startswith("data.jsonl, line 2: ")
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None  # a traceback would show the line


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"id": "x", "text": "\xff", "label": "a"}\n')
    with pytest.raises(InputError, match=r"line 1: invalid UTF-8 at byte 21"):
        ProbeData.read(path)
    path.write_bytes(b"\n")
    with pytest.raises(InputError, match="no documents"):
        ProbeData.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        ProbeData.read(tmp_path / "missing")


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only one label"):
        ProbeData.read(write(tmp_path, row(1), row(2))).labels()
    with pytest.raises(InputError, match="no spans"):
        ProbeData.read(write(tmp_path, spans())).labels()


def test_the_most_frequent_label_means_nothing(tmp_path: Path) -> None:
    data = ProbeData.read(write(tmp_path, row(1), *(row(i, label="z") for i in (2, 3))))
    assert data.labels() == ("z", "a")
    assert data.labels("a") == ("a", "z")
    assert data.classes(("z", "a")).tolist() == [1, 0, 0]
    with pytest.raises(InputError, match="'q'"):
        data.labels("q")
    with pytest.raises(InputError, match="does not know: a"):
        data.classes(("z", "y"))


SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


def many(labels: list[str], groups: list[str] | None = None) -> ProbeData:
    named = groups or [None] * len(labels)  # type: ignore[list-item]
    documents = tuple(
        Document(str(i), "x", label, None, group)
        for i, (label, group) in enumerate(zip(labels, named, strict=True))
    )
    return ProbeData("data", "0" * 64, documents)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=80), st.integers(0, 3))
def test_a_split_takes_each_document_once(labels: list[str], seed: int) -> None:
    data = many(labels)
    parts = data.split(SHARES, seed=seed)
    assert sorted(i for part in parts.values() for i in part) == list(range(len(labels)))
    assert parts == data.split(SHARES, seed=seed)
    for label in set(labels):
        n = labels.count(label)
        for name, share in SHARES.items():
            assert abs(sum(labels[i] == label for i in parts[name]) - share * n) <= 1.2


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), min_size=1, max_size=60))
def test_a_group_stays_in_one_split(found: list[tuple[str, int]]) -> None:
    groups = [str(group) for _, group in found]
    parts = many([label for label, _ in found], groups).split(SHARES)
    homes = {g: {n for n, part in parts.items() for i in part if groups[i] == g} for g in groups}
    assert all(len(home) == 1 for home in homes.values())


def test_another_seed_is_another_split() -> None:
    data = many(["a", "b"] * 30)
    assert data.split(SHARES, seed=0) != data.split(SHARES, seed=1)


def test_token_labels_by_hand() -> None:
    # "…" BOS, " Ann" with its space, "Lee's" of which "Lee" is named, and a tie-break by overlap
    offsets = torch.tensor([[0, 0], [0, 4], [4, 9], [9, 12], [12, 15]])
    found = [LabelledSpan(1, 7, "NAME"), LabelledSpan(10, 13, "ID"), LabelledSpan(13, 15, "NAME")]
    assert token_labels(offsets, found, ("O", "ID", "NAME")).tolist() == [0, 2, 2, 1, 2]
    assert token_labels(offsets, found, ("O", "ID")).tolist() == [0, 0, 0, 1, 1]


def test_token_classes_are_those_of_each_document() -> None:
    marked = (LabelledSpan(1, 3, "NAME"), LabelledSpan(4, 5, "ID"))
    documents = (
        Document("a", "xxxxx", None, marked),
        Document("b", "", None, ()),
        Document("c", "yyy", None, marked[:1]),
    )
    data = ProbeData("data", "0" * 64, documents)
    lengths = [len(document.content) for document in documents]
    offsets = [pair for n in lengths for pair in [(0, 0), *((i, i + 1) for i in range(n))]]  # BOS
    acts = Activations(
        values={Site(0, "resid_pre"): torch.zeros(len(offsets), 1)},
        token_ids=torch.zeros(len(offsets), dtype=torch.long),
        offsets=torch.tensor(offsets),
        documents=torch.arange(3).repeat_interleave(torch.tensor(lengths) + 1),
        document_ids=data.ids,
        fingerprint=fingerprint_of({}, {"w": torch.zeros(1)}),
    )
    assert data.token_classes(acts, ("O", "ID", "NAME")).tolist() == [
        *(0, 0, 2, 2, 0, 1),
        *(0,),
        *(0, 0, 2, 2),
    ]


@given(
    st.lists(st.integers(0, 4), max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from("AB")), max_size=5),
)
def test_token_labels_against_characters(
    lengths: list[int], gaps: list[tuple[int, int, str]]
) -> None:
    offsets, at = [], 0
    for length in lengths:
        offsets.append((at, at + length))
        at += length
    found, at = [], 0
    for gap, length, label in gaps:
        found.append(LabelledSpan(at + gap, at + gap + length, label))
        at += gap + length
    labels = ("O", "A", "B")
    classes = token_labels(torch.tensor(offsets).reshape(-1, 2), found, labels)
    for (start, end), label in zip(offsets, classes.tolist(), strict=True):
        shared = [len(set(range(start, end)) & set(range(s.start, s.end))) for s in found]
        if not any(shared):
            assert label == 0
        else:
            assert labels[label] == found[shared.index(max(shared))].label
