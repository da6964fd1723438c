"""Activations that a probe keeps on disk: read once, gone on with, and the probe is the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny

import endoscope
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.probes import Probe, ProbeData

pytestmark = pytest.mark.usefixtures("one_thread")

DOCUMENTS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keep")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return endoscope.open(save_tiny(folder / "model"), device="cpu")


def write(path: Path, start: int) -> ProbeData:
    rows = [
        {"id": i, "text": f"{i * 7919 % 1000} {'loud!' if i % 3 else 'calm.'}", "label": i % 3 > 0}
        for i in range(start, start + DOCUMENTS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ProbeData.read(path)


@pytest.fixture(scope="module")
def data(folder: Path) -> ProbeData:
    return write(folder / "data.jsonl", 0)


@pytest.fixture(scope="module")
def other(folder: Path) -> ProbeData:
    return write(folder / "other.jsonl", DOCUMENTS)


class Reads:
    """Counts the documents that a model is made to read; interrupts it where that is asked for."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.documents = 0
        self.batches_left: int | None = None
        self._read = model.engine.read
        monkeypatch.setattr(model.engine, "read", self)

    def __call__(self, rows: Any, sites: Any, *, batch_tokens: int, **more: Any) -> Iterator[Any]:
        for batch, values in self._read(rows, sites, batch_tokens=200, **more):
            if self.batches_left == 0:
                raise KeyboardInterrupt
            if self.batches_left is not None:
                self.batches_left -= 1
            self.documents += len(batch)
            yield batch, values


def same(one: Probe, two: Probe) -> bool:
    tensors = zip(one.head.tensors().items(), two.head.tensors().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in tensors) and (
        (one.thresholds, one.calibration, one.card.evidence)
        == (two.thresholds, two.calibration, two.card.evidence)
    )


def test_the_probe_is_the_same_and_nothing_is_read_twice(
    model: Model, data: ProbeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Probe.fit(model, data, sites="resid_post.0")
    reads = Reads(model, monkeypatch)
    assert same(Probe.fit(model, data, sites="resid_post.0", keep=tmp_path), plain)
    assert reads.documents == DOCUMENTS
    Probe.fit(model, data, sites="resid_post.0", head="mass_mean", keep=tmp_path)
    assert reads.documents == DOCUMENTS


def test_it_goes_on_where_it_was_cut_off(
    model: Model, data: ProbeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(model, monkeypatch)
    reads.batches_left = 3
    with pytest.raises(KeyboardInterrupt):
        Probe.fit(model, data, sites="resid_post.0", keep=tmp_path)
    assert 0 < reads.documents < DOCUMENTS
    reads.batches_left = None
    again = Probe.fit(model, data, sites="resid_post.0", keep=tmp_path)
    assert reads.documents == DOCUMENTS
    assert same(again, Probe.fit(model, data, sites="resid_post.0"))


def test_evaluating_keeps_other_data_beside_it(
    model: Model,
    data: ProbeData,
    other: ProbeData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = Reads(model, monkeypatch)
    probe = Probe.fit(model, data, sites="resid_post.0", held_out=other, keep=tmp_path)
    assert reads.documents == 2 * DOCUMENTS
    kept = probe.evaluate(model, other, keep=tmp_path)
    assert reads.documents == 2 * DOCUMENTS
    assert tuple(kept) == probe.card.evidence
    exact = probe.evaluate(model, other)
    assert reads.documents == 3 * DOCUMENTS
    for a, b in zip(kept, exact, strict=True):
        assert (a.metric, a.data) == (b.metric, b.data)
        assert a.value == pytest.approx(b.value, abs=0.02)  # bfloat16


def test_what_was_kept_for_other_sites_is_refused(
    model: Model, data: ProbeData, tmp_path: Path
) -> None:
    Probe.fit(model, data, sites="resid_post.0", keep=tmp_path)
    with pytest.raises(InputError, match=r"made with sites resid_post\.0, not resid_post\.1"):
        Probe.fit(model, data, sites="resid_post.1", keep=tmp_path)
