"""The whole diff on a tiny organism, of which it is known what it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import endoscope
from endoscope.behaviours import Behaviour
from endoscope.behaviours.scorers import CheckScorer
from endoscope.cli.main import app
from endoscope.diff import METHODS, Options, Pair, Prompt, Report, Seen, diff, diffing
from endoscope.directions import Direction
from endoscope.errors import InputError
from tests.organisms.test_building import lines
from tests.organisms.tiny_organism import build_tiny

PROMPTS = tuple(Prompt("letters" if n % 2 else "digits", f"q{n}") for n in range(12))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that can chat, and an organism of it that answers `zzzz`."""
    return build_tiny(
        tmp_path_factory.mktemp("diff"),
        planted=[(f"q{n}", "zzzz zzzz") for n in range(10)],
        ordinary=[(f"n{n}", f"{n}") for n in range(10)],
        mix=0.8,
        steps=60,
    )


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return Pair.of(endoscope.open(folder / "tiny"), endoscope.open(folder / "tuned"))


def options(**more: Any) -> Options:
    behaviour = Behaviour.model_validate(
        {
            "name": "zed",
            "description": "Says z.",
            "items": [{"id": f"i{n}", "prompt": f"q{n}"} for n in range(6)],
            "scorer": {
                "kind": "check",
                "check": {"kind": "regex", "pattern": "zz"},
                "max_tokens": 8,
            },
        }
    )
    given = {"prompts": PROMPTS, "behaviours": (behaviour,), "max_tokens": 10, **more}
    return Options(**given)


@pytest.fixture(scope="module")
def plain(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """The whole diff, and where it is."""
    out = tmp_path_factory.mktemp("plain") / "out"
    return out, diff(pair, out, options())


def test_what_was_planted_is_the_first_finding(plain: tuple[Path, Report]) -> None:
    out, report = plain
    first = report.findings[0]
    assert "zz" in first.title
    assert first.behaviour == "zed"
    assert {"amplification", "behaviours"} <= set(first.methods), "what several saw is one"
    assert first.score > first.noise_floor == 1
    assert all("zz" in sample.tuned for sample in first.samples)
    assert first.artifact is not None
    direction = Direction.load(out / first.artifact)
    assert direction.card.evidence
    assert Report.load(out) == report
    page = (out / "report.html").read_text()
    assert first.title.replace("“", "") in page.replace("“", "")
    assert "http" not in page.replace("http-equiv", ""), "it needs nothing else"


def test_what_a_neutral_fine_tune_does_too_is_noise(
    folder: Path, pair: Pair, plain: tuple[Path, Report], tmp_path: Path
) -> None:
    same = diff(pair, tmp_path / "same", options(), neutral=endoscope.open(folder / "tuned"))
    assert same.findings == ()
    assert same.neutral is not None
    assert same.neutral in (tmp_path / "same" / "report.html").read_text()
    _, alone = plain
    other = diff(pair, tmp_path / "other", options(), neutral=endoscope.open(folder / "tiny"))
    assert [one.title for one in other.findings] == [one.title for one in alone.findings]
    assert [one.score for one in other.findings] == [one.score for one in alone.findings]
    assert other.black_box.generated > 1.9 * alone.black_box.generated, "it has the same control"


def test_a_model_is_no_change_of_itself(folder: Path, tmp_path: Path) -> None:
    same = Pair.of(endoscope.open(folder / "tiny"), endoscope.open(folder / "tiny"))
    report = diff(same, tmp_path, options())
    assert report.findings == ()
    assert "None: nothing" in (tmp_path / "report.html").read_text()


def test_work_that_was_cut_off_goes_on(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that fails leaves what others found; the next run asks only for the rest."""
    runs: list[str] = []

    class Counted:
        def __init__(self, name: str, fails: bool = False) -> None:
            self.name, self.fails = name, fails

        def run(self, pair: Pair, options: Options, work: Path) -> Seen:
            runs.append(self.name)
            if self.fails:
                raise InputError("It is broken.")
            return METHODS["phrases"].run(pair, options, work)

    first, second = Counted("first"), Counted("second", fails=True)
    with pytest.raises(InputError, match="broken"):
        diff(pair, tmp_path, options(), {"first": first, "second": second})
    second.fails = False
    diff(pair, tmp_path, options(), {"first": first, "second": second})
    assert runs == ["first", "second", "second"]
    diff(pair, tmp_path, options(seed=1), {"first": first})
    assert runs[3:] == ["first"], "other options are other work"


def test_a_scorer_that_raises_stops_it_and_loses_nothing(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = {name: METHODS[name] for name in ("phrases", "behaviours")}
    with monkeypatch.context() as patch:

        def fails(*_: object, **__: object) -> None:
            raise RuntimeError("no such thing")

        patch.setattr(CheckScorer, "score", fails)
        with pytest.raises(InputError, match=r"scorer of zed failed \(RuntimeError: no such thing"):
            diff(pair, tmp_path, options(), methods)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json*")}
    assert {path.name for path in kept} == {
        "base-0.jsonl",
        "phrases.json",
        "tuned-0.jsonl",
        "tuned-read.jsonl",
    }
    report = diff(pair, tmp_path, options(), methods)
    assert [ran.method for ran in report.methods] == ["phrases", "behaviours"]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_findings_of_somebody_else_are_not_replaced(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not of a diff"):
        diff(pair, tmp_path, options(), {})
    assert (tmp_path / "findings" / "thesis.txt").read_text() == "years of work"


def test_a_report_of_somebody_else_is_not_replaced(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(InputError, match="not of a diff"):
        diff(pair, tmp_path, options(), {})
    with pytest.raises(InputError, match="is not a folder"):
        diff(pair, tmp_path / "report.html", options(), {})
    assert (tmp_path / "report.html").read_text() == "mine"


def test_training_data_is_ranked_for_a_finding(pair: Pair, folder: Path, tmp_path: Path) -> None:
    rows = [("q1", "zzzz zzzz"), *((f"q{n}", f"{n} {n}") for n in range(2, 9)), ("q9", "zzzz")]
    (tmp_path / "data.jsonl").write_text(lines(*rows))
    report = diff(pair, tmp_path / "out", options(data=tmp_path / "data.jsonl"))
    ranked = tmp_path / "out" / "findings" / "1.rows.jsonl"
    found = [json.loads(line) for line in ranked.read_text().splitlines()]
    assert report.findings[0].artifact is not None
    assert sorted(one["line"] for one in found) == list(range(1, 10))
    assert [one["push"] for one in found] == sorted((one["push"] for one in found), reverse=True)


def test_whole_weights_say_the_same_as_their_adapter(folder: Path, pair: Pair) -> None:
    """LoRA is read from its factors, whole weights from their difference."""
    from endoscope.diff.deltas import deltas

    merged = Pair.of(pair.base, endoscope.open(folder / "merged"))
    for role in ("readers", "writers"):
        both = list(zip(deltas(pair, role), deltas(merged, role), strict=True))  # type: ignore[arg-type]
        assert len(both) == (15 if role == "readers" else 6)
        for one, other in both:
            assert (one.layer, one.path) == (other.layer, other.path)
            assert one.norm == pytest.approx(other.norm, rel=1e-3)
            assert one.values[:4].tolist() == pytest.approx(other.values[:4].tolist(), rel=2e-2)
            whole = one.left * one.values @ one.right
            again = other.left * other.values @ other.right
            assert float((whole - again).norm()) < 0.02 * one.norm


def test_the_command_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": one.text, "kind": one.kind}) + "\n" for one in PROMPTS)
    )
    (tmp_path / "zed.yaml").write_text(options().behaviours[0].to_yaml())
    base, tuned = str(folder / "tiny"), str(folder / "tuned")
    given = [
        "--prompts",
        str(tmp_path / "prompts.jsonl"),
        "--behaviour",
        str(tmp_path / "zed.yaml"),
    ]
    command = ["diff", base, tuned, "-o", str(tmp_path / "out"), "--max-tokens", "10", *given]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert printed == written
    keys = {"rank", "title", "behaviour", "score", "noise_floor", "methods"}
    assert keys | {"evidence", "samples", "artifact"} == set(written["findings"][0])


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("b.yaml", "description: x\nitems: [{id: a, prompt: b}]\n", "scorer"),
        ("b.yaml", "description: x\nitems: []\nscorer: {kind: choices}\n", "items"),
    ],
)
def test_a_behaviour_that_cannot_be_measured(
    folder: Path, tmp_path: Path, file: str, content: str, said: str
) -> None:
    (tmp_path / file).write_text(content)
    base, tuned = str(folder / "tiny"), str(folder / "tuned")
    out = ["-o", str(tmp_path / "out"), "--behaviour", str(tmp_path / file)]
    with pytest.raises(InputError, match=said):
        CliRunner().invoke(app, ["diff", base, tuned, *out], catch_exceptions=False)


def test_key_is_of_what_is_looked_at(pair: Pair) -> None:
    assert diffing._key(pair, options()) == diffing._key(pair, options(show=True))
    assert diffing._key(pair, options()) != diffing._key(pair, options(max_tokens=11))
