import json
import pickle
from importlib.metadata import version

import pytest
import torch
from pydantic import ValidationError

from endoscope.artifacts import (
    Card,
    DataRef,
    Evidence,
    Fingerprint,
    load_artifact,
    read_card,
    save_artifact,
)
from endoscope.errors import InputError

TENSORS = {"weight": torch.arange(12.0).reshape(3, 4).T, "bias": torch.ones(4).bfloat16()}
DATA = DataRef(name="held-out | set", sha256="a" * 64, rows=1200, licence="CC-BY-4.0")


def evidence(**changes):
    figure = {
        "metric": "f1_characters",
        "value": 0.853,
        "low": 0.841,
        "high": 0.866,
        "n": 1200,
        "data": DATA,
        "split": "test",
    }
    return Evidence(**(figure | changes))


def card(**changes):
    fields = {
        "kind": "probe",
        "name": "pii-日本",
        "model": Fingerprint(config="1" * 64, weights="2" * 64, dtype="bfloat16"),
        "model_name": "gemma-3-270m",
        "data": DATA,
        "command": "endoscope probe fit DATA --model gemma-3-270m",
        "sites": ("resid_post.12",),
        "seed": 0,
        "evidence": (evidence(), evidence(label="NAME", baseline="resid_pre.0", note="words")),
        "details": {"look_ahead": 2, "thresholds": {"NAME": 0.5}},
    }
    return Card(**(fields | changes))


@pytest.fixture
def saved(tmp_path):
    save_artifact(tmp_path / "probe", card(), TENSORS)
    return tmp_path / "probe"


def rewrite(folder, **changes):
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(saved):
    loaded, tensors = load_artifact(saved, "probe")
    assert loaded == card(created=loaded.created, tensors_sha256=loaded.tensors_sha256)
    assert loaded.created.utcoffset().total_seconds() == 0
    assert loaded.versions["torch"] == version("torch")
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert read_card(saved) == loaded
    assert sorted(path.name for path in saved.iterdir()) == ["card.json", "tensors.safetensors"]


def test_saved_again_in_the_same_place(saved):
    shared = torch.ones(6)
    save_artifact(saved, card(name="two"), {"a": shared, "b": shared[2:]})
    loaded, tensors = load_artifact(saved, "probe")
    assert loaded.name == "two"
    assert torch.equal(tensors["b"], torch.ones(4))
    with pytest.raises(InputError, match="is not a direction"):
        save_artifact(saved, card(kind="direction"), TENSORS)
    assert load_artifact(saved, "probe")[0].name == "two"


def test_missing(tmp_path, saved):
    with pytest.raises(InputError, match="There is no probe"):
        load_artifact(tmp_path / "nowhere", "probe")
    (saved / "tensors.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no tensors\.safetensors"):
        load_artifact(saved, "probe")
    (saved / "card.json").unlink()
    with pytest.raises(InputError, match=r"has no card\.json"):
        load_artifact(saved, "probe")


@pytest.mark.parametrize("name", ["probe.pkl", "head.pt", "Model.BIN", "probe.joblib"])
def test_pickles_are_refused(tmp_path, saved, name):
    (saved / name).write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(InputError, match=f"{name} is a pickle"):
        load_artifact(saved, "probe")
    with pytest.raises(InputError, match=f"{name} is a pickle"):
        load_artifact(saved / name, "probe")


def test_pickle_under_our_name_is_refused(saved):
    torch.save(TENSORS, saved / "tensors.safetensors")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_artifact(saved, "probe")


def test_other_kind(saved):
    with pytest.raises(InputError, match="is of kind 'probe', not 'direction'"):
        load_artifact(saved, "direction")


def test_newer_and_older_formats(saved):
    rewrite(saved, format=2, something="new")
    with pytest.raises(InputError, match=r"newer Endoscope \(format 2; this one reads 1\).*Update"):
        load_artifact(saved, "probe")
    rewrite(saved, format=0)
    with pytest.raises(InputError, match=r"older Endoscope .* again: endoscope probe fit DATA"):
        load_artifact(saved, "probe")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_tensors(saved, keep):
    path = saved / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_artifact(saved, "probe")


def test_changed_tensors(saved):
    path = saved / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="not what its card was written for"):
        load_artifact(saved, "probe")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not whole JSON"),
        (b'{"kind": "probe"', "not whole JSON"),
        (b"\xff\xfe{", "not whole JSON"),
        (b"[" * 100_000, "not whole JSON"),
        (b"[]", "not a card"),
        (b'{"kind": 1, "format": 1}', "not a card"),
        (b'{"model_type": "llama"}', "not a card"),
        (b'{"kind": "probe", "format": 1}', "not a valid card: name: is missing"),
    ],
)
def test_not_a_card(saved, content, message):
    (saved / "card.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_artifact(saved, "probe")


def test_unknown_entries_are_refused_without_their_content(saved):
    rewrite(saved, extra="secret")
    with pytest.raises(InputError, match="not a valid card: extra") as caught:
        load_artifact(saved, "probe")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_figures_are_finite(value):
    with pytest.raises(ValidationError):
        evidence(value=value)
    with pytest.raises(ValidationError):
        card(details={"threshold": value})
    with pytest.raises(ValidationError):
        evidence(low=0.9, high=0.8)


def test_card_reads_well():
    text = repr(card())
    for part in ("probe 'pii-日本'", "gemma-3-270m", "resid_post.12", "0.853 [0.841, 0.866]"):
        assert part in text
    page = card().to_markdown()
    assert "| f1_characters | NAME | resid_pre.0 | 0.853 | 0.841 to 0.866 | 1,200 |" in page
    assert "held-out \\| set" in page
    assert "endoscope probe fit DATA" in page
    tables = [line for line in page.replace("\\|", "").splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {3, 9}
