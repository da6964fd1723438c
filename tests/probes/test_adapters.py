"""A probe fitted on an adapted model is read on that model again, not on its base."""

import json
import warnings
from pathlib import Path

import pytest
from tests.models.test_loading import make_adapter
from tests.tiny import save_tiny
from typer.testing import CliRunner

import endoscope
from endoscope.artifacts import TransferWarning
from endoscope.cli.probe import app
from endoscope.guard import Policy
from endoscope.guard.loading import load_scorers
from endoscope.probes import Probe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapted")
    make_adapter(folder / "adapter", str(save_tiny(folder / "model")))
    rows = [
        {"id": str(i), "text": f"ab {i:03d} cd", "spans": [[3, 6, "NAME"]] if i % 3 else []}
        for i in range(60)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(*arguments: str | Path) -> None:
    CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.mark.parametrize("beside", [True, False], ids=["beside its base", "by itself"])
def test_the_card_opens_the_adapted_model(folder: Path, tmp_path: Path, beside: bool) -> None:
    adapter = folder / "adapter"
    named = ("--model", folder / "model", "--adapter", adapter) if beside else ("--model", adapter)
    run("fit", folder / "data.jsonl", *named, "--sites", "resid_post.1", "-o", tmp_path / "p")
    card = Probe.load(tmp_path / "p").card
    base = endoscope.open(folder / "model", device="cpu").fingerprint
    assert card.model.relation(base) == "derived"
    assert (card.model_name, card.adapter) == (
        (str(folder / "model"), str(adapter)) if beside else (str(adapter), None)
    )
    again = endoscope.open(card.model_name, adapter=card.adapter, device="cpu")
    assert again.fingerprint.digest == card.model.digest

    (tmp_path / "policy.yaml").write_text("name: mine\nprobe: p\nlabels: {NAME: {}}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", TransferWarning)
        run("eval", tmp_path / "p", folder / "data.jsonl")
        scorer = load_scorers(Policy.load(tmp_path / "policy.yaml"))["en"]
        scorer.score(["ab 123"])
    with pytest.warns(TransferWarning):  # the base is still read if that is asked for
        run("eval", tmp_path / "p", folder / "data.jsonl", "--model", folder / "model")
