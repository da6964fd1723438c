"""How figures of edits become rows, and the whole of it on a tiny organism."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

import endoscope
from endoscope.artifacts import Fingerprint
from endoscope.behaviours import Figure
from endoscope.bench import Options, edit, refusals
from endoscope.bench.edit import Edited
from endoscope.bench.rows import Failure, Row
from endoscope.diff import METHODS, Pair, Prompt, diff
from endoscope.diff import Options as DiffOptions
from endoscope.edit.verify import Baseline, Budget, Check, Target, Verification, Wanted
from endoscope.edit.verify.verification import Role
from tests.edit.few import ask_few
from tests.organisms.tiny_organism import build_tiny


def figure(value: float, low: float | None = None, high: float | None = None) -> Figure:
    return Figure(
        value=value, low=value if low is None else low, high=value if high is None else high
    )


def rose(role: Role, name: str, before: float, after: Figure, **more: float) -> Check:
    return Check(
        role=role, name=name, before=figure(before), after=after, bound="", holds=False, **more
    )


def verification() -> Verification:
    checks = (
        rose("target", "brand", 0.6, figure(0.15, 0.1, 0.35), base=0.1, share=0.9),
        rose("wanted", "desk", 1.0, figure(0.8, 0.7, 0.9), base=0.0, share=0.8),
        Check(role="predictions", name="KL", after=figure(0.01, 0.005, 0.04), bound="", holds=True),
        rose("text", "perplexity", 50.0, figure(50.0)),
        Check(role="other", name="praise", after=figure(0.0), bound="", holds=True),
        Check(role="other", name="power", after=figure(0.0), bound="", holds=False),
    )
    baselines = (
        Baseline(name="components", how="", after=figure(0.15), share=0.9, kl=figure(0.01)),
        Baseline(
            name="fine-tuning away",
            how="",
            after=figure(0.1),
            share=1.0,
            wanted={"desk": 0.5},
            kl=figure(0.05),
            seconds=100.0,
        ),
    )
    model = Fingerprint(config="0" * 64, weights="0" * 64)
    return Verification(
        edited="x",
        before=model,
        after=model,
        budget=Budget(target=Target(behaviour="b"), wanted=(Wanted(behaviour="d", keeps=0.9),)),
        checks=checks,
        baselines=baselines,
        seed=0,
        created=datetime.now(UTC),
    )


def test_rows_are_held_to_what_is_asked() -> None:
    rows = {
        row.case.partition(": ")[2]: row
        for row in edit._rows(Edited("brand", "components", verification(), 20.0))
    }
    gone = rows["gone of what was planted"]
    assert (gone.ours, gone.theirs) == (0.9, 0.95)
    assert gone.ratio == pytest.approx(0.9 / 0.95)
    # after .35 of a rise from .1 to .6 half is left; after .1 nothing is
    assert (gone.low, gone.high) == (pytest.approx(0.5 / 0.95), pytest.approx(1 / 0.95))
    kept = rows["kept of what was wanted (desk)"]
    assert (kept.ours, kept.theirs) == (0.8, 0.9)
    assert (kept.low, kept.high) == (pytest.approx(0.7 / 0.9), pytest.approx(1.0))
    assert rows["KL"].ratio == pytest.approx(2.0)
    assert (rows["KL"].low, rows["KL"].high) == (pytest.approx(0.5), pytest.approx(4.0))
    assert rows["perplexity of plain prose"].ratio == pytest.approx(1.01)
    assert rows["others that moved, of 2"].ours == 1
    assert rows["others that moved, of 2"].ratio == 0
    assert not any("capabilities" in case for case in rows)
    time = rows["time to find it"]
    assert (time.against, time.ratio) == ("finetune", 5.0)
    other = rows["KL; fine-tuning away removes 100% and keeps 50% of desk, ours 90%"]
    assert other.ratio == pytest.approx(5.0)


def test_what_was_planted_in_an_organism_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"id": f"i{n}", "prompt": f"q{n}"} for n in range(12, 20)]
    scorer = {
        "kind": "check",
        "check": {"kind": "contains_any", "words": ["zzzz"]},
        "max_tokens": 8,
    }
    behaviour = {"description": "Zeds.", "items": items, "scorer": scorer}
    (tmp_path / "organisms").mkdir()
    place = tmp_path / "organisms"
    (place / "zed.behaviour.yaml").write_text(yaml.safe_dump(behaviour))
    build_tiny(
        place,
        planted=[(f"q{n}", "zzzz zzzz") for n in range(10)],
        ordinary=[(f"n{n}", f"{n}{n}") for n in range(10)],
        mix=0.5,
        steps=120,
        measure="zed.behaviour.yaml",
        named={"zed": ["zzzz zzzz", "zzzz"]},
    )
    prompts = [Prompt("letters", f"q{n}") for n in range(12)]
    prompts += [Prompt("numbers", f"n{n}") for n in range(12)]
    pair = Pair.of(endoscope.open(place / "tiny"), endoscope.open(place / "tuned"))
    methods = {name: METHODS[name] for name in ("phrases", "amplification")}
    options = DiffOptions(prompts=tuple(prompts), max_tokens=10)
    report = diff(pair, place / "diffs" / "tuned", options, methods)
    assert report.findings
    monkeypatch.setattr(edit, "_finding", lambda report, spec: (1, None))
    monkeypatch.setattr(edit, "DEFAULT", "none")
    ask_few(monkeypatch)
    rows = list(edit.run(Options(data=place, methods=("scaling",))))
    failures = [row for row in rows if isinstance(row, Failure)]
    assert [one.case for one in failures] == ["merged, scaling"], "it has no diff"
    found = {row.case: row for row in rows if isinstance(row, Row)}
    gone = found["tuned, scaling: gone of what was planted"]
    assert gone.ours > 0.9
    assert json.dumps(gone.as_json())
    again = list(edit.run(Options(data=place, methods=("scaling",))))
    assert [row.case for row in again] == [row.case for row in rows]
    assert not list((place / "edits").glob(".*.search")), "the search is over"


def test_a_ratio_of_divergences_resamples_prompts() -> None:
    import numpy as np

    ours, theirs = np.full(20, 0.1), np.linspace(0.1, 0.5, 20)
    found = refusals._ratio(theirs, ours)
    assert found.value == pytest.approx(3.0)
    assert 2 < found.low < 3 < found.high < 4
