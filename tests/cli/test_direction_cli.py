"""`endoscope direction` and `endoscope behaviours`, as they are typed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import save_tiny

from endoscope.behaviours import Behaviour, Measurement
from endoscope.cli.main import main
from endoscope.directions import Direction

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("cli") / "model"))


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["endoscope", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    code = stop.value.code
    assert isinstance(code, int | None)
    return code or 0, *capsys.readouterr()


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "loud.jsonl"
    rows = [{"id": i, "positive": f"{i} yes !!", "negative": f"{i} no .."} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def spec(folder: Path) -> Path:
    path = folder / "terse.yaml"
    path.write_text(
        "description: Says little.\n"
        "items:\n- {id: a, prompt: Hello}\n- {id: b, prompt: Goodbye}\n"
        "scorer: {kind: check, check: {kind: max_words, limit: 50}, max_tokens: 4}\n"
    )
    return path


def test_a_direction_is_fitted_and_shown(
    model: str,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("direction", "fit", pairs, "--model", model, "--site", "resid_post.1")
    out = tmp_path / "loud"
    code, printed, _ = run(monkeypatch, capsys, *words, "-o", out, "--json", "--method", "pca")
    assert code == 0
    card: dict[str, Any] = json.loads(printed)
    assert (card["kind"], card["name"], card["details"]["method"]) == ("direction", "loud", "pca")
    assert Direction.load(out).card.model_dump(mode="json") == card
    code, printed, _ = run(monkeypatch, capsys, "direction", "show", out)
    assert code == 0
    assert "random directions" in printed

    code, _, said = run(monkeypatch, capsys, *words, "-o", out)
    assert code == 2
    assert "--force" in said
    # the command on the card makes the same card
    again = [word.replace("DIRECTION", str(tmp_path / "again")) for word in card["command"].split()]
    assert run(monkeypatch, capsys, *again[1:])[0] == 0
    remade = Direction.load(tmp_path / "again").card
    assert [e.model_dump() for e in remade.evidence] == card["evidence"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--site", "resid_post.9"), "does not exist"),
        (("--site", "nowhere.1"), "is not a site"),
        (("--site", "resid_post.1", "--method", "guess"), "No method"),
        (("--site", "resid_post.1", "--tokens", "first"), "no tokens"),
        (("--site", "resid_post.1", "--rank", "2"), "one direction"),
    ],
)
def test_what_cannot_be_fitted_ends_with_2_and_a_line(
    model: str,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    words: str,
) -> None:
    code, _, said = run(
        monkeypatch,
        capsys,
        *("direction", "fit", pairs, "--model", model, "-o", tmp_path / "x", *more),
    )
    assert code == 2
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_behaviour_is_measured_under_interventions(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("behaviours", "measure", spec(tmp_path), "--model", model)
    code, printed, _ = run(monkeypatch, capsys, *words, "-o", tmp_path / "m.json")
    assert code == 0
    assert "terse" in printed
    plain = Measurement.load(tmp_path / "m.json")
    assert (plain.mean.value, len(plain.items), plain.interventions) == (1.0, 2, ())

    change = {"kind": "add", "site": "resid_post.1", "vector": [1.0, -1.0] * 16, "strength": 50.0}
    (tmp_path / "i.json").write_text(json.dumps([change]))
    code, printed, _ = run(
        monkeypatch, capsys, *words, "--interventions", tmp_path / "i.json", "--json"
    )
    assert code == 0
    changed = Measurement.model_validate_json(printed)
    assert [one.kind for one in changed.interventions] == ["add"]
    assert [i.output for i in changed.items] != [i.output for i in plain.items]


def test_behaviours_are_listed_and_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, printed, _ = run(monkeypatch, capsys, "behaviours", "list", "--json")
    assert code == 0
    assert {"sea", "personal"} <= {one["name"] for one in json.loads(printed)}
    assert "sea" in run(monkeypatch, capsys, "behaviours", "list")[1]
    printed = run(monkeypatch, capsys, "behaviours", "show", "sea")[1]
    (tmp_path / "copy.yaml").write_text(printed)
    assert Behaviour.load(tmp_path / "copy.yaml") == Behaviour.load("sea")
    printed = run(monkeypatch, capsys, "behaviours", "show", "sea", "--json")[1]
    assert Behaviour.model_validate_json(printed) == Behaviour.load("sea")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("show", "nowhere"), "There is no behaviour nowhere"),
        (("show", "SPEC", "--controls", "x"), "--as refusals"),
        (("show", "SPEC", "--as", "guess"), "No format"),
        (("show", "SPEC", "--as", "matching"), "line 1"),
        (("measure", "SPEC", "--model", "nowhere"), "nowhere"),
        (("measure", "SPEC", "--model", "x", "--interventions", "SPEC"), "not valid JSON"),
        (("measure", "SPEC"), "--model"),
    ],
)
def test_what_cannot_be_measured_ends_with_2_and_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    words: str,
) -> None:
    given = [str(spec(tmp_path)) if word == "SPEC" else word for word in more]
    code, _, said = run(monkeypatch, capsys, "behaviours", *given)
    assert code == 2
    assert words in said
    assert len(said.strip().splitlines()) == 1
