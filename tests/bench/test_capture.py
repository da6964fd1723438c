"""The capture benchmark on tiny models, and that every side captures the same thing."""

from pathlib import Path

import numpy as np
import pytest
import torch

import endoscope
from endoscope.bench import capture
from endoscope.bench.environments import peer_python
from endoscope.bench.runner import Options, chosen, job_file
from endoscope.bench.worker import Worker
from endoscope.errors import InputError
from tests.bench.here import Here, work_here
from tests.tiny import save_tiny

PEERS = {peer.against: peer for peer in capture.PEERS}


def installed(environment: str) -> bool:
    try:
        return peer_python(environment).is_file()
    except InputError:
        return False


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(autouse=True)
def short_texts(monkeypatch):
    monkeypatch.setattr(capture, "prose", lambda count: ["One.", "A longer one, to be padded to."])


def test_rows_have_the_shape_of_the_contract(tiny, monkeypatch):
    work_here(monkeypatch, "runner", "capture")
    against = ["limit", "self", "hidden_states"]
    options = Options(models=[str(tiny)], against=against, pairs=2, show=False)
    rows = [row.as_json() for row in capture.run(options)]
    site = f"{tiny}, resid_post.1, float32"
    assert [(row["case"], row["against"]) for row in rows] == [
        *((site, side) for side in against),
        (f"{site}, texts in order", "hidden_states"),
    ]
    for row in rows:
        assert list(row) == [
            *("bench", "case", "ours", "against", "theirs", "ratio", "low", "high", "unit")
        ]
        assert row["bench"] == "capture"
        assert row["unit"] == "tokens/s"
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert min(row["ours"], row["theirs"]) > 0
    assert {"endoscope", "torch", "transformers"} <= set(options.versions)


def test_a_side_that_fails_is_reported_and_the_others_go_on(tiny, monkeypatch):
    broken = tiny.parent / "broken.py"
    broken.write_text("def load(setup): raise RuntimeError('no kernel for this')")
    peers = (capture.Peer("nnsight", str(broken.with_suffix(""))), PEERS["limit"])
    monkeypatch.setattr(capture, "PEERS", peers)
    work_here(monkeypatch, "runner")  # our side is a process
    failed, row, again = capture.run(Options(models=[str(tiny)], pairs=1, show=False))
    assert again.as_json()["case"].endswith("texts in order")
    assert failed.as_json()["against"] == "nnsight"
    assert "no kernel for this" in failed.as_json()["error"]
    assert row.against == "limit"


def test_a_model_that_cannot_be_opened_is_one_failure(tmp_path, monkeypatch):
    work_here(monkeypatch, "capture")
    (failed,) = capture.run(Options(models=[str(tmp_path / "none")], pairs=1, show=False))
    assert "There is no model" in failed.as_json()["error"]


def test_unknown_and_missing_sides_are_refused(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="does not compare with 'vllm'"):
        next(capture.run(Options(against=["vllm"])))
    monkeypatch.setenv("ENDOSCOPE_PEERS", str(tmp_path))
    with pytest.raises(InputError, match="make peers"):
        next(capture.run(Options(against=["nnsight"])))


def test_sides_that_are_not_installed_are_left_out_aloud(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ENDOSCOPE_PEERS", str(tmp_path))
    found = [peer.against for peer in chosen(capture.PEERS, Options())]
    assert found == ["limit", "hidden_states", "self"]
    assert "transformer_lens, nnsight, interp_engine" in capsys.readouterr().err


def rows_of_each_side(
    sides: list[str], model: str, layer: int, folder: Path, kind: type[Worker] = Worker
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Our rows and those of other sides, `[tokens, d_model]`, document after document."""
    setup = capture.setup_for(model, layer=layer, dtype="float32")
    with kind(job_file("capture_endoscope")) as worker:
        facts = worker.load(setup)
        (ours,) = captured(worker, folder)
    masks = [torch.tensor(batch["mask"]).bool() for batch in facts["batches"]]
    lengths = [len(e.ids) for e in endoscope.open(model).tokenizer.encode_batch(setup["texts"])]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)  # as the batches are
    theirs = {}
    for against in sides:
        with PEERS[against].start() as worker:
            worker.load({**setup, **facts})
            padded = captured(worker, folder)
        packed = torch.cat([p[mask] for p, mask in zip(padded, masks, strict=True)])
        parts = dict(zip(order, packed.split([lengths[i] for i in order]), strict=True))
        theirs[against] = torch.cat([parts[i] for i in range(len(lengths))])
    return ours, theirs


def captured(worker: Worker, folder: Path) -> list[torch.Tensor]:
    worker.repeat()
    worker.save(folder / "captured.npz")
    with np.load(folder / "captured.npz") as arrays:
        return [torch.from_numpy(arrays[name]) for name in arrays.files]


def test_plain_transformers_gives_the_same(tiny, tmp_path, monkeypatch):
    work_here(monkeypatch, "runner")
    ours, theirs = rows_of_each_side(["limit", "hidden_states"], str(tiny), 1, tmp_path, Here)
    assert ours.shape == (len("One.") + len("A longer one, to be padded to.") + 2, 32)
    for values in theirs.values():
        torch.testing.assert_close(values, ours, rtol=0, atol=0)


@pytest.mark.embedded
@pytest.mark.skipif(not installed("capture"), reason="needs `make peers`")
@pytest.mark.parametrize("model", ["smollm2-135m-instruct", "gemma-3-270m"])
def test_peers_give_the_same(model, tmp_path):
    peers = ["transformer_lens", "nnsight", "interp_engine"]
    ours, theirs = rows_of_each_side(peers, model, 3, tmp_path)
    # Attention computed in another order is equal up to rounding only, on a stream whose largest
    # entries are in the thousands.
    scale = ours.abs().amax(dim=1, keepdim=True)
    for against, values in theirs.items():
        assert float(((values - ours) / scale).abs().max()) < 1e-4, against


def test_batches_in_order_keep_within_the_budget(tiny):
    texts = ["a", "abc", "abcdefgh", "ab", "a"]
    with Here(job_file("capture_endoscope")) as worker:
        facts = worker.load({**capture.setup_for(str(tiny)), "texts": texts, "batch_tokens": 12})
    # A byte a token, and the BOS: 2, 4, 9, 3 and 2 tokens.
    shapes = [(len(batch["ids"]), len(batch["ids"][0])) for batch in facts["in_order"]]
    assert shapes == [(2, 4), (1, 9), (2, 3)]
