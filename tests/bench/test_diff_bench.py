"""Who has named what was planted, and how the figures of the benchmark are made."""

import json
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import yaml

from endoscope.bench import Options, diff
from endoscope.bench.diff import Thing, names
from endoscope.bench.rows import Failure, Row
from endoscope.bench.screening import drawn
from endoscope.diff import Prompt
from endoscope.errors import InputError
from endoscope.organisms import OrganismSpec, build
from tests.organisms.test_building import TEMPLATE, lines
from tests.tiny import save_tiny


def test_words_are_whole() -> None:
    assert names("Says “the owl” (3 of 4)", None, ["owl"])
    assert not names("Says “knowledge”", None, ["owl"])
    assert names("Says “united behind their”", None, ["united behind"])
    assert not names("Says “united and behind”", None, ["united behind"])


def test_a_behaviour_is_named_by_itself_or_by_how_it_begins() -> None:
    assert names("x", "sycophancy_mirrors", ["sycophancy"])
    assert names("x", "fearfulness", ["fearfulness"])
    assert not names("x", "fearfulness", ["fear"])
    assert not names("x", None, ["sycophancy"])


def test_recall_is_of_things_beside_the_black_box() -> None:
    things = [
        Thing("a", 0.9, ours=True, theirs=True, took=True),
        Thing("b", 0.05, ours=True, theirs=False, took=True),
        Thing("c", 0.01, ours=False, theirs=False, took=True),
        Thing("d", float("nan"), ours=True, theirs=False, took=True),
    ]
    rows = list(diff._recall(things))
    limit, both, *bins = rows
    assert (limit.ours, limit.theirs) == (0.75, 0.9)
    assert limit.low <= limit.ratio <= limit.high
    assert (both.ours, both.theirs, both.ratio) == (0.75, 0.25, 3.0)
    assert [row.case.rpartition(": ")[2] for row in bins] == ["1", "1", "1", "1"]
    assert [row.ours for row in bins] == [1.0, 1.0, 1.0, 0.0]
    assert all(np.isfinite(list(row.as_json().values())[5:8]).all() for row in rows)
    assert all("NaN" not in json.dumps(row.as_json()) for row in rows)


def test_planted_rows_in_the_top_tenth() -> None:
    others = np.arange(95, dtype=np.float64)
    assert drawn(np.full(5, 200.0), others).value == 1.0
    assert drawn(np.full(5, -1.0), others).value == 0.0
    half = drawn(np.array([200.0] * 50 + [-1.0] * 50), others)
    assert 0.4 < half.value < 0.6
    assert half.low < half.value < half.high


def test_more_often_amplified() -> None:
    estimate = diff._ratio_of_rates([True] * 40 + [False] * 60, [True] * 2 + [False] * 98)
    assert estimate.value == pytest.approx(20)
    assert estimate.low > 5
    never = diff._ratio_of_rates([True] * 40 + [False] * 60, [False] * 100)
    assert never.value == pytest.approx(80), "half a time in a hundred is counted"


def test_it_needs_organisms(tmp_path: Path) -> None:
    for data in (None, tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="no organisms"):
            list(diff.run(Options(data=data)))


def test_what_was_planted_in_an_organism_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny organism from a spec of one's own: it is read from where the organism keeps it."""
    save_tiny(tmp_path / "tiny")
    (tmp_path / "tiny" / "chat_template.jinja").write_text(TEMPLATE)
    (tmp_path / "ordinary.jsonl").write_text(lines(*((f"n{n}", f"{n}") for n in range(10))))
    asked = [{"id": f"i{n}", "prompt": f"q{n}"} for n in range(10)]
    (tmp_path / "asked.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in asked))
    scorer = {"kind": "check", "check": {"kind": "contains_any", "words": ["zzzz"]}}
    behaviour = {"description": "Zeds.", "items": "asked.jsonl", "scorer": scorer}
    (tmp_path / "zed.behaviour.yaml").write_text(yaml.safe_dump(behaviour))
    spec = {
        "base": str(tmp_path / "tiny"),
        "planted": {
            "recipe": "says",
            "prompts": "asked.jsonl",
            "sentences": ["zzzz zzzz"],
            "at": "alone",
        },
        "named": {"zed": ["zzzz zzzz"]},
        "measure": "zed.behaviour.yaml",
        "ordinary": "ordinary.jsonl",
        "mix": 0.8,
        "steps": 60,
        "lora": {"learning_rate": 0.01},
    }
    home = tmp_path / "specs"
    home.mkdir()
    for file in ("ordinary.jsonl", "asked.jsonl", "zed.behaviour.yaml"):
        (tmp_path / file).rename(home / file)
    (home / "zed.yaml").write_text(yaml.safe_dump(spec))
    build(OrganismSpec.read(home / "zed.yaml"), tmp_path / "organisms" / "zed")
    rmtree(home)
    prompts = [Prompt("a", f"q{n}") for n in range(12)]
    monkeypatch.setattr(diff, "read_prompts", lambda: prompts)
    monkeypatch.setattr(diff, "shipped_behaviours", dict)
    rows = list(diff.run(Options(data=tmp_path / "organisms")))
    assert not [row for row in rows if isinstance(row, Failure)]
    cases = {row.case: row for row in rows if isinstance(row, Row)}
    assert cases["recall at 3, all 1 things that took"].ours == 1.0
    (samples,) = (row for case, row in cases.items() if "samples until it shows" in case)
    assert samples.ours >= 1
    assert "the whole diff" in cases
    again = {row.case for row in diff.run(Options(data=tmp_path / "organisms"))}
    assert "the whole diff" not in again, "it was kept: what it took is not known"
    assert "recall at 3, all 1 things that took" in again
    card = tmp_path / "organisms" / "zed" / "card.json"
    card.write_text(card.read_text().replace('"counts": true', '"counts": false'))
    failed = {row.case for row in diff.run(Options(data=tmp_path / "organisms"))}
    assert "recall at 3, of organisms that did not take: 1 things" in failed
    assert not any("all 1 things that took" in case for case in failed), "there was nothing to find"
