"""The serving benchmark on a tiny model, and that every side generates the same texts."""

from pathlib import Path

import pytest
import torch

from endoscope.bench import serve, serve_vllm
from endoscope.bench.runner import Options, job_file
from endoscope.bench.serve import Load
from endoscope.bench.worker import Worker, WorkerError
from endoscope.engine.passes import Pass
from tests.bench.here import work_here
from tests.bench.test_capture import installed
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(autouse=True)
def little(monkeypatch):
    monkeypatch.setattr(serve, "NEW_TOKENS", 6)
    monkeypatch.setattr(serve, "PLAIN", (Load(3),))
    steered = (Load(3, interventions=True),)
    added = (Load(3, probes=True, interventions=True),)
    loads = {"plain": added, "transformer_lens": steered, "nnsight": steered}
    monkeypatch.setattr(serve, "LOADS", loads)


@pytest.fixture
def here(monkeypatch):
    work_here(monkeypatch, "runner", "serve")
    for name in ("visit", "read_tokens", "read_chunks"):  # put back what a clock was put around
        monkeypatch.setattr(Pass, name, getattr(Pass, name))


@pytest.mark.usefixtures("here")
def test_every_side_generates_the_same_and_the_cost_is_told_twice(tiny):
    against = ["generate", "limit", "plain"]
    options = Options(models=[str(tiny)], against=against, pairs=2, show=False)
    rows = [row.as_json() for row in serve.run(options)]
    case = f"{tiny}, 3 requests"
    added = f"{case}, each with a probe and an intervention"
    assert [(row["against"], row["case"], row.get("unit")) for row in rows] == [
        ("generate", case, "tokens/s"),
        ("limit", case, "tokens/s"),
        ("plain", added, "tokens/s"),
        ("plain", f"{added}, own time of what is added", "ms/step"),
    ]
    for row in rows:
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
    assert rows[3]["ratio"] < 1  # what is added takes time of its own


@pytest.mark.parametrize("name", ["transformer_lens", "nnsight"])
def test_peers_steer_to_the_same_texts(tiny, name):
    if not installed("capture"):
        pytest.skip("needs `make peers`")
    options = Options(models=[str(tiny)], against=[name], pairs=1, show=False)
    (row,) = serve.run(options)
    assert row.as_json()["case"].endswith("each with an intervention")


def test_what_is_added_is_really_there(tiny):
    def tokens(side: Worker, load: Load, strength: float | None = None) -> list[list[int]]:
        side.load({**serve.setup_for(str(tiny), load), "strength": strength})
        side.repeat()
        return side.result()["tokens"]

    with Worker(job_file("serve_endoscope")) as side:
        plain = tokens(side, Load(3))
        strong = tokens(side, Load(3, interventions=True), strength=5.0)
    assert [len(row) for row in plain] == [6, 6, 6]
    assert all(a != b for a, b in zip(plain, strong, strict=True))


def test_different_texts_are_no_comparison():
    serve.check([[1, 2]] * 4, [[1, 2]] * 4)
    serve.check([[1, 2]] * 4, [[1, 2]] * 3 + [[1, 3]])
    with pytest.raises(WorkerError, match="different texts"):
        serve.check([[1, 2]] * 4, [[1, 2]] * 2 + [[1, 3]] * 2)
    with pytest.raises(WorkerError, match="different texts"):
        serve.check([[1, 2]] * 4, [[1, 2]] * 3 + [[1]])


def test_on_vllm_every_side_is_told_the_same_vectors_and_probes(tiny):
    setup = serve_vllm.setup_for(str(tiny))
    requests = serve_vllm.REQUESTS
    vectors, weights = torch.tensor(setup["vectors"]), torch.tensor(setup["weights"])
    assert len(setup["prompts"]) == requests
    assert weights.shape == (requests, 2, vectors.shape[1])
    lengths = torch.full((requests,), setup["strength"] * setup["norm"])
    torch.testing.assert_close(vectors.norm(dim=-1), lengths)
    assert setup == serve_vllm.setup_for(str(tiny))
