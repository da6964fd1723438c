"""`endoscope steer sweep`, on a tiny random model."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from endoscope import InputError
from endoscope.cli.main import app
from endoscope.cli.typed import typed_command
from endoscope.directions import Direction
from tests.tiny import save_tiny

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("sweeps")
    save_tiny(folder / "model")
    pairs = [
        {"id": str(i), "positive": f"the sea {i} and waves", "negative": f"the road {i} and cars"}
        for i in range(8)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    spec = {
        "description": "Writes small.",
        "items": [{"id": str(i), "prompt": f"What is {i}?"} for i in range(4)],
        "scorer": {"kind": "check", "check": {"kind": "share_lowercase"}, "max_tokens": 6},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(spec))
    (folder / "choosing.jsonl").write_text('{"prompt": "And 9?"}\n{"prompt": "And 8?"}\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDOSCOPE_CACHE", str(folder / "cache"))
        patch.setattr("endoscope.steer.measuring.NEUTRAL_TOKENS", 6)
        patch.setattr("endoscope.steer.sweeping.NEUTRAL", 2)
        patch.chdir(folder)
        yield folder


def run(*words: str) -> Any:
    given = ["steer", "sweep", "--model", "model", "--behaviour", "small.yaml", "--random", "1"]
    return CliRunner().invoke(app, [*given, *words])


FIT = ("--fit", "pairs.jsonl", "--layers", "0,1", "--strengths", "0.5,1", "--most", "2")


def test_it_fits_sweeps_and_saves(here: Path) -> None:
    done = run(*FIT, "--choose-on", "choosing.jsonl", "-o", "out", "--json")
    assert done.exit_code == 1, done.output  # a random model is not steered by 0.3
    found = json.loads(done.stdout)
    assert found == json.loads((here / "out/sweep.json").read_text())
    assert len(found["points"]) == 2 + 2 * 2 * 2
    assert {"sweep.png", "sweep.svg", "cells.jsonl"} <= {p.name for p in (here / "out").iterdir()}
    direction = Direction.load(here / "out/directions/resid_post.1")
    assert any(one.metric == "steering_score" for one in direction.card.evidence)
    again = run("--direction", "out/directions/resid_post.1", "--strengths", "1", "-o", "again")
    assert "held out" in again.stdout


def test_it_ends_with_0_where_the_best_is_of_use(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endoscope.steer.Sweep.confirmed", True)
    done = run(*FIT, "--layers", "0", "--strengths", "1", "-o", "good")
    assert done.exit_code == 0
    assert "Saved to good." in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "needs directions"),
        (("--fit", "pairs.jsonl", "--direction", "d"), "needs directions"),
        (("--fit", "pairs.jsonl", "--layers", "x"), "layers are no numbers"),
        (("--fit", "pairs.jsonl", "--layers", "7"), "does not exist"),
        ((*FIT, "--strengths", "much"), "strengths are no numbers"),
        ((*FIT, "--positions", "here"), "no positions"),
        (("--direction", "d", "--layers", "1"), "its own layer"),
        ((*FIT, "--choose-on", "pairs.jsonl"), "a line is no item"),
        (("--fit", "nowhere.jsonl"), "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(here: Path, words: tuple[str, ...], said: str) -> None:
    done = run(*words, "-o", "bad")
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert not (here / "bad").exists()


def test_the_command_can_be_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "steer",
        "sweep",
        "--instruction",
        "Be sad and/or slow.",
        "--fit=/a/b.jsonl",
        "-o",
        "/x/y",
    ]
    monkeypatch.setattr("sys.argv", ["endoscope", *words])
    said = "endoscope steer sweep --instruction 'Be sad and/or slow.' --fit=b.jsonl -o y"
    assert typed_command() == said
