"""Prompts in pieces, requests that are put back and run again, and two workers."""

import os
from collections.abc import Callable

import pytest
import torch

from endoscope import add
from endoscope.engine.requests import Request, Sampling
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
    coming = requests(5, 100, 8)
    steps = run(pair.vllm.engine._core, coming)
    for _, request in coming:
        check(pair.transformers, request, steps[request.id])
    text = "The sea is calm today, " * 6
    mine = pair.vllm.capture([text], "resid_post.2")
    its = pair.transformers.capture([text], "resid_post.2")
    assert (mine["resid_post.2"] - its["resid_post.2"]).abs().max() < 1e-4


def test_requests_that_are_put_back_and_run_again(pairs: Callable[..., Pair]) -> None:
    """The cache has room for half of what they come to."""
    pair = pairs("llama", num_gpu_blocks_override=12, max_model_len=256, disable_log_stats=False)
    coming = requests(6, 2 * BLOCK, 2 * BLOCK)
    steps = run(pair.vllm.engine._core, coming)
    for _, request in coming:
        check(pair.transformers, request, steps[request.id])
    metrics = {one.name: one for one in pair.vllm.engine._vllm.get_metrics()}
    assert metrics["vllm:num_preemptions"].value > 0


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_workers_give_what_one_gives(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
    pair = pairs("gemma3", tensor_parallel_size=2)
    coming = mix(5)
    steps = run(pair.vllm.engine._core, coming)
    for _, request in coming:
        check(pair.transformers, request, steps[request.id])
