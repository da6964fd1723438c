"""The guard with a real probe on a real, tiny model: offsets, windows and policies meet."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tiny import save_tiny

import endoscope
from endoscope.errors import InputError
from endoscope.guard import Guard, UnscoredError
from endoscope.guard.loading import (
    ProbeScorer,
    load_scorers,
    probe_folder,
    shipped_probe,
    shipped_probes,
)
from endoscope.guard.policy import Policy
from endoscope.probes import Probe, ProbeData


def write(path: Path, rows: list[dict[str, object]]) -> ProbeData:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ProbeData.read(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy whose probe tells digits from the rest: the embedding of a byte is enough."""
    folder = tmp_path_factory.mktemp("guard")
    save_tiny(folder / "model")
    model = endoscope.open(folder / "model")
    rows: list[dict[str, object]] = []
    for n in range(60):
        words, digits = "call me on "[n % 7 :], f"{n * 7919 % 10**6:06d}"
        text = f"{words}{digits} ok, é田中は!\r\n שלום 👨‍👩‍👧 e\u0301 \0 \ufffdx"
        span = [len(words), len(words) + 6, "CODE"]
        rows.append({"id": str(n), "text": text, "spans": [span]})
    data = write(folder / "codes.jsonl", rows)
    Probe.fit(model, data, sites="resid_pre.0").save(folder / "probe")
    (folder / "policy.yaml").write_text(
        "probe: probe\nlabels: {CODE: {threshold: 0.5, replacement: pseudonym}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def guard(folder: Path) -> Guard:
    return Guard.load(folder / "policy.yaml")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("", ""),
        ("room 123456", "room [CODE_1]"),
        ("田中は123456\r\n", "田中は[CODE_1]\r\n"),
        ("👨‍👩‍👧 e\u0301 \0 \ud800 שלום", "👨‍👩‍👧 e\u0301 \0 \ud800 שלום"),
        ("123456 " + "x" * 3000 + " 123456", "[CODE_1] " + "x" * 3000 + " [CODE_1]"),
    ],
)
def test_texts(guard: Guard, text: str, redacted: str) -> None:
    assert guard.redact(text).redacted == redacted


def test_both_languages_share_one_probe_and_one_model(folder: Path) -> None:
    scorers = load_scorers(Policy.load(folder / "policy.yaml"))
    assert set(scorers) == {"en", "ja"}
    assert scorers["en"] is scorers["ja"]


def test_a_language_that_the_probe_cannot_read_is_never_clean(folder: Path, tmp_path: Path) -> None:
    probe = Probe.load(folder / "probe")
    details = {**probe.card.details, "languages": ["en"]}
    replace(probe, card=probe.card.model_copy(update={"details": details})).save(tmp_path / "probe")
    (tmp_path / "policy.yaml").write_text("probe: probe\nlabels: {CODE: {}}\n")
    guard = Guard.load(tmp_path / "policy.yaml")
    assert guard.redact("room 123456").redacted == "room [CODE]"
    with pytest.raises(UnscoredError, match="no probe of this guard reads Japanese"):
        guard.redact("田中は")


def test_probes_by_name_and_by_folder(folder: Path, tmp_path: Path) -> None:
    stream = "pii-gemma-3-270m-stream"
    assert probe_folder("auto", tmp_path) == shipped_probe("pii", "gemma-3-270m")
    assert probe_folder(stream, tmp_path) == shipped_probes()[stream]
    assert Probe.load(probe_folder(stream, tmp_path)).card.model_name == "gemma-3-270m"
    assert probe_folder("probe", folder) == folder / "probe"
    # What is asked for goes before what the policy says.
    (tmp_path / "policy.yaml").write_text("probe: nowhere\nlabels: {CODE: {}}\n")
    ready = Guard.load(tmp_path / "policy.yaml", probe=folder / "probe")
    assert ready.redact("room 123456").redacted == "room [CODE]"


def test_work_is_gone_on_with_only_on_the_same_model(folder: Path, tmp_path: Path) -> None:
    probe = Probe.load(folder / "probe")
    save_tiny(tmp_path / "other", seed=1)
    models = (
        endoscope.open(folder / "model", dtype="float32"),
        endoscope.open(folder / "model", dtype="bfloat16"),
        endoscope.open(tmp_path / "other", dtype="float32"),
    )
    policy = Policy.load(folder / "policy.yaml")
    identities = [Guard(policy, ProbeScorer(probe, model)).identity for model in models]
    assert len({json.dumps(identity) for identity in identities}) == 3
    again = endoscope.open(folder / "model", dtype="float32")
    assert Guard(policy, ProbeScorer(probe, again)).identity == identities[0]


def test_a_probe_of_documents_cannot_guard(folder: Path) -> None:
    rows = [
        {"id": str(n), "text": "ab"[n % 2] * 5 + str(n), "label": "ab"[n % 2]} for n in range(60)
    ]
    model = endoscope.open(folder / "model")
    data = write(folder / "documents.jsonl", rows)  # type: ignore[arg-type]
    probe = Probe.fit(model, data, sites="resid_pre.0", negative="a")
    with pytest.raises(InputError, match="scores documents"):
        ProbeScorer(probe, model)


def test_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No pii probe for the model gpt-17") as caught:
        shipped_probe("pii", "gpt-17")
    assert "have one: gemma-3-270m, smollm2-135m-instruct. For another, fit" in str(caught.value)
    with pytest.raises(InputError, match="No pii probe for the model gemma-3-270m-stream"):
        shipped_probe("pii", "gemma-3-270m-stream")  # a probe has this name, but no model
    (tmp_path / "p.yaml").write_text("probe: nowhere\nlabels: {NAME: {}}\n")
    with pytest.raises(InputError, match=r"no probe nowhere\. .*: pii-gemma-3-270m, pii-gemma"):
        Guard.load(tmp_path / "p.yaml")
    save_tiny(tmp_path / "other", seed=1)
    with pytest.raises(InputError):  # a probe is of no use on a model that it was not made for
        Guard.load(folder / "policy.yaml", model=str(tmp_path / "other")).scan("x")
