"""Many replicas: parts of some data, a process each; and the replicas of vLLM's own server."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope import ActivationStore
from endoscope.engine import Model
from endoscope.engine.batching import Row
from endoscope.engine.vllm.engine import _portions
from tests.vllm.conftest import BLOCK, MODEL, PATIENCE, ask, stock_server

SITES = ["resid_post.12", "attn_out.3"]
TEXTS = [
    "The sea is calm today. " * (1 + 5 * i % 7) + ("市場" if i % 3 else "") for i in range(12)
] + [""]
PROGRAM = Path(sys.executable).with_name("endoscope")


def run(*arguments: str | Path) -> "subprocess.Popen[str]":
    """Start the command line in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_two_processes_capture_what_one_does(model: Model, tmp_path: Path) -> None:
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    parts = [tmp_path / "1", tmp_path / "2"]
    options = ["--model", MODEL, "--dtype", "float32", "--sites", ",".join(SITES), "--json"]
    options += ["--engine", "vllm", "--batch-tokens", "100", "--vllm", f"block_size={BLOCK}"]
    options += ["--vllm", "enforce_eager=true", "--vllm", "max_model_len=512"]
    replicas = [
        run("capture", data, *options, "--part", f"{k}/2", "-o", part)
        for k, part in enumerate(parts, 1)
    ]
    said = [replica.communicate(timeout=PATIENCE)[0] for replica in replicas]
    assert [replica.returncode for replica in replicas] == [0, 0]
    assert [json.loads(one)["documents"] for one in said] == [7, 6]  # and nothing but that
    join = run("join", *parts, "-o", tmp_path / "acts")
    assert "complete" in join.communicate(timeout=PATIENCE)[0]

    mine = ActivationStore.open(tmp_path / "acts", model.fingerprint).load()
    ids = [str(i + 1) for i in range(len(TEXTS))]
    its = model.capture_to(tmp_path / "alone", TEXTS, SITES, ids=ids).load()
    assert mine.document_ids == its.document_ids == ids
    for name in ("token_ids", "offsets", "documents"):
        assert torch.equal(getattr(mine, name), getattr(its, name))
    for site in its.sites:
        check_close(mine[site].double(), its[site].double())


def check_close(mine: torch.Tensor, its: torch.Tensor) -> None:
    """Compare rows that were within 1e-4 of each other before each was rounded to bfloat16.

    Rounding to 8 bits moves a value by at most 2^-9 of itself. And it leaves few values apart that
    were that close: neighbours are at least 2^-8 apart, so one in 40 is rounded the other way.
    """
    assert ((mine - its).norm(dim=1) <= (1e-4 + 2 * 2**-9) * its.norm(dim=1)).all()
    assert (mine != its).double().mean() < 1e-4 * 2**8


def test_replicas_of_the_stock_server(model: Model, sea: Path, tone: Path) -> None:
    """Requests of all kinds at once, on two engine cores; each comes to what it does alone."""
    push = {"kind": "add", "direction": "sea", "strength": 0.3}
    kinds = [{}, {"probes": ["tone"]}, {"probes": ["tone"], "interventions": [push]}]
    config = {"directions": {"sea": str(sea)}, "probes": {"tone": str(tone)}}
    with stock_server(model, config, "--data-parallel-size", "2") as url:
        alone = [ask(url, endoscope=ours)["choices"][0]["message"] for ours in kinds]
        with ThreadPoolExecutor(12) as pool:
            together = list(pool.map(lambda ours: ask(url, endoscope=ours), kinds * 4))
        metrics = httpx.get(f"{url}/metrics").text
    for number, answer in enumerate(together):
        message, wanted = answer["choices"][0]["message"], alone[number % 3]
        assert message["content"] == wanted["content"]
        if number % 3:
            mine, its = (one["endoscope"]["readings"]["tone"] for one in (message, wanted))
            assert [position for position, _ in mine] == [position for position, _ in its]
            for (_, score), (_, expected) in zip(mine, its, strict=True):
                assert score == pytest.approx(expected, abs=1e-3)
    read = [
        line.split() for line in metrics.splitlines() if line.startswith("vllm:prompt_tokens_t")
    ]
    assert len(read) == 2
    assert all(float(tokens) > 0 for *_, tokens in read)


@given(lengths=st.lists(st.integers(0, 9)), tokens=st.integers(1, 20))
def test_portions_are_all_that_is_to_be_read_in_order_and_no_longer_than_told(
    lengths: Sequence[int], tokens: int
) -> None:
    rows = [Row(list(range(length))) for length in lengths]
    found = list(_portions(rows, tokens))
    assert [n for numbers in found for n in numbers] == [n for n, row in enumerate(rows) if row.ids]
    for numbers in found:
        assert len(numbers) == 1 or sum(lengths[n] for n in numbers) <= tokens
