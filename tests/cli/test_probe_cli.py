import json
from pathlib import Path

import pytest
from click.testing import Result
from tests.tiny import save_tiny
from typer.testing import CliRunner

from endoscope.activations import ActivationStore
from endoscope.cli.probe import app
from endoscope.errors import InputError
from endoscope.probes import Probe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    save_tiny(folder / "model")
    rows = [
        {"id": str(i), "text": f"{i % 7} {'!!' if i % 2 else '..'}", "label": "ab"[i % 2]}
        for i in range(80)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def call(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def run(*arguments: str | Path) -> str:
    return call(*arguments).stdout


def test_fit_then_eval(folder: Path) -> None:
    out = folder / "probe"
    options = ("--model", folder / "model", "--sites", "resid_post.0")
    fitted = json.loads(run("fit", folder / "data.jsonl", *options, "-o", out, "--json"))
    assert fitted["saved"] == str(out)
    assert fitted["details"]["pooling"] == "mean"
    metrics = {e["metric"]: e for e in fitted["evidence"]}
    assert metrics["auroc"]["value"] > 0.9
    assert metrics["auroc"]["split"] == "test"
    assert Probe.load(out).name == "probe"

    again = json.loads(run("eval", out, folder / "data.jsonl", "--json"))
    assert {e["n"] for e in again["evidence"]} == {80}
    assert again["model"] == str(folder / "model")
    assert again["transferred"] is False
    assert "saved" not in again
    assert "recall_at_fpr_0.01" in run("eval", out, folder / "data.jsonl")


def test_what_the_figures_cannot_say_is_said(folder: Path, tmp_path: Path) -> None:
    """On standard error, in the figures for machines, and on the card."""
    options = ("--model", folder / "model", "--sites", "resid_post.0", "--json")
    few = "Few examples to measure on (12 documents, 6 of a, 6 of b)"
    done = call("fit", folder / "data.jsonl", *options, "-o", tmp_path / "p")
    assert few in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert few in json.loads(done.stdout)["evidence"][0]["note"]
    assert few in Probe.load(tmp_path / "p").card.to_markdown()

    done = call("eval", tmp_path / "p", folder / "data.jsonl")
    assert "fitted on this file" in done.stderr

    other = (folder / "data.jsonl").read_text().replace(" ", "  ")
    (tmp_path / "other.jsonl").write_text(other)
    said = call("eval", tmp_path / "p", tmp_path / "other.jsonl").stderr
    assert said.startswith("endoscope: 40 documents without the label cannot show")
    assert len(said.splitlines()) == 1


def test_activations_are_kept_if_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    keep = ("--keep", tmp_path / "keep", "--json")
    options = ("--model", folder / "model", "--sites", "resid_post.0")
    run("fit", folder / "data.jsonl", *options, "-o", tmp_path / "p", *keep)
    (store,) = (tmp_path / "keep").iterdir()
    assert store.name.startswith("data-")
    assert len(ActivationStore.open(store).done) == 80
    run("eval", tmp_path / "p", folder / "data.jsonl", *keep)
    assert list((tmp_path / "keep").iterdir()) == [store]


def test_bad_input_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    options = ["--model", str(folder / "model"), "-o", str(tmp_path / "p")]
    data = str(folder / "data.jsonl")
    for more in (
        ["--sites", "resid_post.99"],
        ["--sites", "nonsense"],
        ["--sites", "resid_post.0", "--head", "mlp"],
        ["--sites", "resid_post.0", "--pooling", "median"],
        ["--sites", "resid_post.0", "--negative", "zzz"],
    ):
        with pytest.raises(InputError):
            CliRunner().invoke(app, ["fit", data, *options, *more], catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_a_probe_is_replaced_only_if_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    options = ("--model", folder / "model", "-o", tmp_path / "p", "--json")
    run("fit", folder / "data.jsonl", "--sites", "resid_post.0", *options)
    before = (tmp_path / "p" / "card.json").read_bytes()
    with pytest.raises(InputError, match=r"a probe in .*--force"):
        run("fit", folder / "data.jsonl", "--sites", "resid_post.1", *options)
    assert (tmp_path / "p" / "card.json").read_bytes() == before
    run("fit", folder / "data.jsonl", "--sites", "resid_post.1", *options, "--force")
    assert Probe.load(tmp_path / "p").card.sites == ("resid_post.1",)


def test_an_interrupt_leaves_nothing_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("endoscope.artifacts.files.save_file", interrupted)
    options = ["--model", str(folder / "model"), "--sites", "resid_post.0"]
    command = ["fit", str(folder / "data.jsonl"), *options, "-o", str(tmp_path / "p")]
    CliRunner().invoke(app, command)
    assert not list(tmp_path.iterdir())
