"""The guard benchmark with a real probe on a tiny model, and how other sides' answers are read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import endoscope
from endoscope.bench import guard
from endoscope.bench.environments import peer_python
from endoscope.bench.runner import Options
from endoscope.bench.worker import JOBS, Worker
from endoscope.bench.workers.guard_judge import question, spans
from endoscope.errors import InputError
from endoscope.probes import Probe, ProbeData
from tests.bench.here import work_here
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A probe for which a digit is a telephone number: the embedding of a byte is enough."""
    folder = tmp_path_factory.mktemp("guard")
    model = endoscope.open(save_tiny(folder / "model"))
    rows = []
    for n in range(60):
        before = "call me on "[n % 7 :]
        text = f"{before}{n * 7919 % 10**6:06d} ok"
        rows.append(
            {"id": str(n), "text": text, "spans": [[len(before), len(before) + 6, "PHONE"]]}
        )
    path = folder / "phones.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    Probe.fit(model, ProbeData.read(path), sites="resid_pre.0").save(folder / "probe")
    return folder


def test_time_memory_and_f1(folder, monkeypatch):
    monkeypatch.setattr(guard, "JUDGED", 1)
    work_here(monkeypatch, "guard")
    options = Options(
        against=["self"],
        probes=[folder / "probe"],
        data=folder / "phones.jsonl",
        documents=3,
        pairs=1,
        show=False,
    )
    rows = list(guard.run(options))  # the other side is a process
    work_here(monkeypatch, "runner")
    rows += guard.run(replace(options, against=["judge"]))
    assert [(row.against, row.unit) for row in rows] == [
        ("self", "ms/document"),
        ("self", "MiB"),
        ("judge", "ms/document"),
        ("judge", "MiB"),
        ("judge", "F1"),
    ]
    assert all(row.case.startswith(f"phones, {folder / 'model'}, one reading") for row in rows)
    accuracy = rows[-1]
    assert accuracy.case.endswith("one by one, structured types, 3 documents")
    assert accuracy.ours > 0.9  # the probe has seen the answer
    assert accuracy.theirs < 0.1  # a random model has nothing to say
    assert accuracy.ratio > 5


def test_a_probe_is_given_only_languages_that_it_reads(folder):
    card = guard.read_card(folder / "probe", "probe")
    japanese = card.model_copy(update={"details": {**card.details, "languages": ["ja"]}})
    assert [corpus.language for corpus in guard._corpora(japanese, Options())] == ["ja"]
    assert guard._corpora(japanese, Options(data=folder / "phones.jsonl")) == []
    (english,) = guard._corpora(card, Options(data=folder / "phones.jsonl"))
    assert english.language == "en"


def test_without_data_the_texts_are_our_own(folder):
    card = guard.read_card(folder / "probe", "probe")
    corpora = guard._corpora(card, Options())
    assert [(corpus.language, len(corpus.texts), corpus.gold) for corpus in corpora] == [
        ("en", guard.TEXTS, None),
        ("ja", guard.TEXTS, None),
    ]


def test_a_judges_answer_is_looked_up_in_the_text():
    text = "Ana Lee (a@b.org) met Ana Lee."
    answer = "NAME: Ana Lee\nEMAIL:a@b.org\nNAME: Bo\nAGE: 7\nnone\nNAME:\n\nText: Ana Lee, ID: Ana"
    assert spans(text, answer) == [
        (0, 7, "NAME", 1.0),
        (22, 29, "NAME", 1.0),
        (9, 16, "EMAIL", 1.0),
    ]
    assert text in question(text)


def installed() -> bool:
    try:
        return peer_python("guard").is_file()
    except InputError:
        return False


@pytest.mark.skipif(not installed(), reason="needs `make peers`")
@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize(
    ("job", "text", "expected"),
    [
        (
            "guard_presidio",
            "Mary Miller wrote from mary@example.com last week.",
            {("Mary Miller", "NAME"), ("mary@example.com", "EMAIL")},
        ),
        (
            "guard_ginza",
            "山田太郎さんは昨日、田中と会った。",
            {("山田太郎", "NAME"), ("田中", "NAME")},
        ),
    ],
)
def test_peers_find_what_they_are_known_to_find(job, text, expected, one_by_one):
    with Worker(JOBS / f"{job}.py", peer_python("guard")) as worker:
        worker.load({"texts": [text, "."], "one_by_one": one_by_one})
        worker.repeat()
        found, nothing = worker.result()
    assert {(text[start:end], label) for start, end, label, _ in found} == expected
    assert nothing == []
