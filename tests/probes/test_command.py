"""The command on a card makes the same probe again, or says that none can."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.models.test_loading import make_adapter
from tests.tiny import save_tiny
from typer.testing import CliRunner

import endoscope
from endoscope.cli.main import app
from endoscope.probes import FitOptions, Probe, ProbeData

pytestmark = pytest.mark.usefixtures("one_thread")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a folder")  # with a space, to be quoted
    make_adapter(folder / "adapter", str(save_tiny(folder / "model")))
    for name in ("data", "other"):
        write(
            folder / f"{name}.jsonl",
            [
                {"id": f"{name}{i}", "text": f"{i % 9} {'!!' if i % 2 else '..'}", "label": i % 2}
                for i in range(60)
            ],
        )
    write(
        folder / "spans.jsonl",
        [{"id": i, "text": f"ab {i:03d} cd", "spans": [[3, 6, "N"]]} for i in range(60)],
    )
    return folder


@pytest.mark.parametrize(
    ("data", "opened", "fitted"),
    [
        ("spans", {}, {"sites": "resid_pre.0,mlp_out.1", "look_ahead": 1, "readings": 2}),
        ("spans", {}, {"sites": "resid_post.0", "head": "mass_mean"}),
        (
            "data",
            {"adapter": "adapter", "dtype": "bfloat16"},
            {
                "sites": "resid_post.1",
                "head": "attention",
                "pooling": "top_k_mean:2",
                "held_out": "other",
                "negative": "1",
                "options": FitOptions(window=3, fpr=0.05, seed=4),
            },
        ),
    ],
)
def test_the_command_makes_the_same_probe_again(
    folder: Path, tmp_path: Path, data: str, opened: dict[str, Any], fitted: dict[str, Any]
) -> None:
    if "adapter" in opened:
        opened = {**opened, "adapter": folder / opened["adapter"]}
    if "held_out" in fitted:
        fitted = {**fitted, "held_out": ProbeData.read(folder / f"{fitted['held_out']}.jsonl")}
    model = endoscope.open(folder / "model", device="cpu", **opened)
    probe = Probe.fit(model, ProbeData.read(folder / f"{data}.jsonl"), **fitted)
    saved = probe.save(tmp_path / "p")

    program, *command = shlex.split(saved.command)
    assert (program, command[-2:]) == ("endoscope", ["-o", "DIR"])
    command = [*command[:-1], str(tmp_path / "again"), "--device", "cpu", "--json"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    again = Probe.load(tmp_path / "again").card
    for field in ("tensors_sha256", "model", "model_name", "adapter", "details", "evidence"):
        assert getattr(again, field) == getattr(saved, field), field
    assert again.command == saved.command


@pytest.mark.parametrize("what", ["options", "part", "held_out", "no file"])
def test_what_no_command_can_say_is_said_in_words(folder: Path, what: str) -> None:
    model = endoscope.open(folder / "model", device="cpu")
    data = ProbeData.read(folder / "data.jsonl")
    more: dict[str, Any] = {}
    if what == "options":
        more["options"] = FitOptions(penalties=(1e-2,))
    elif what == "part":
        data = data.take(range(58), "all")
    elif what == "held_out":
        more["held_out"] = ProbeData.read(folder / "other.jsonl").take(range(30), "half")
    else:
        data = ProbeData("mine", "0" * 64, data.documents)
    card = Probe.fit(model, data, sites="resid_post.0", **more).card
    assert card.command.startswith("made from Python")
    assert card.details["options"]["penalties"]  # type: ignore[call-overload,index]
