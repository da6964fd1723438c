"""Prompts in pieces, requests that are put back and run again, two workers, and two stages."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from endoscope import add
from endoscope.engine.requests import Request, Sampling
from endoscope.interventions import Gate
from tests.engine.streams import check, readout, run
from tests.engine.test_stream_core import mix
from tests.vllm.conftest import BLOCK, Pair

READ = readout("resid_post.1", look_ahead=2, seed=7)


def push(seed: int) -> torch.Tensor:
    return torch.randn(32, generator=torch.Generator().manual_seed(seed))


def requests(count: int, length: int, tokens: int) -> list[tuple[int, Request]]:
    sampling = Sampling(tokens, temperature=0.0, ignore_eos=True, logprobs=3)
    return [
        (
            number,
            Request(
                str(number),
                (256, *((11 * i + number) % 250 for i in range(length + number))),
                sampling,
                {"p": READ} if number % 2 else {},
                (add(push(number), 2.0, site="resid_post.0", units="absolute"),) if number else (),
            ),
        )
        for number in range(count)
    ]


def test_prompts_in_pieces(pairs: Callable[..., Pair]) -> None:
    pair = pairs("llama", max_num_batched_tokens=24, max_num_seqs=8)
    pair.agree(requests(5, 100, 8))
    text = "The sea is calm today, " * 6
    mine = pair.vllm.capture([text], "resid_post.2")
    its = pair.transformers.capture([text], "resid_post.2")
    assert (mine["resid_post.2"] - its["resid_post.2"]).abs().max() < 1e-4


def test_requests_that_are_put_back_and_run_again(pairs: Callable[..., Pair]) -> None:
    """The cache has room for half of what they come to."""
    pair = pairs("llama", num_gpu_blocks_override=12, max_model_len=256, disable_log_stats=False)
    pair.agree(requests(6, 2 * BLOCK, 2 * BLOCK))
    metrics = {one.name: one for one in pair.vllm.engine._vllm.get_metrics()}
    assert metrics["vllm:num_preemptions"].value > 0


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_workers_give_what_one_gives(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
    pair = pairs("gemma3", tensor_parallel_size=2)
    pair.agree(mix(5))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_stages_give_what_one_gives(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes read on both; what the first one reads reaches the output with the stream.

    It is compiled: on CPUs vLLM makes the room for what stages send only where it warms up.
    """
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
    pair = pairs("llama", pipeline_parallel_size=2, enforce_eager=False, max_num_seqs=4)
    last = f"resid_post.{pair.transformers.n_layers - 1}"
    coming = []
    for number, (_, request) in enumerate(requests(6, 20, 12)):
        late = add(push(number + 9), 2.0, site=last, units="absolute", positions="generated")
        readouts = {"early": readout("resid_pre.0", look_ahead=1), "late": readout(last)}
        if number % 3 == 1:
            readouts.pop("late")
        more = {"readouts": readouts, "interventions": (*request.interventions, late)}
        coming.append((number, replace(request, **more)))
    gate = Gate(readout=readout(last, seed=3), label="x", threshold=0.4)
    gated = add(push(4), 2.0, site=last, units="absolute", gate=gate)
    coming.append((0, replace(coming[0][1], id="gated", interventions=(gated,))))
    apart = {"apart": readout("resid_post.0", last)}
    coming.append((0, replace(coming[0][1], id="apart", readouts=apart)))
    steps = run(pair.vllm.engine._core, coming)
    assert "different stages of the pipeline" in str(steps.pop("apart")[-1].error)
    for _, request in coming[:-1]:
        check(pair.transformers, request, steps[request.id])
    sites = ["resid_pre.0", "attn_out.0", "resid_post.1", last]
    mine, its = (one.capture(["The sea is calm."], sites) for one in (pair.vllm, pair.transformers))
    assert all((mine[site] - its[site]).abs().max() < 1e-4 for site in sites)
