"""Requests that run together come to what each comes to alone."""

import random

import pytest
import torch
import transformers
from tests.engine.streams import alone, check, greedy, opened, readout, run, same
from tests.tiny import CONFIGS

from endoscope.engine import Model
from endoscope.engine.core import Limits
from endoscope.engine.requests import Request
from endoscope.interventions import Gate, Intervention, ablate, add, clamp

pytestmark = pytest.mark.usefixtures("one_thread")

BOS = 256
SMALL = Limits(requests=3, prompt_tokens=8, cache_tokens=4096)


MODELS: dict[str, tuple[str, dict[str, object]]] = {n: (n, {}) for n in CONFIGS if n != "bert"}
MODELS["mistral-windowed"] = ("mistral", {"sliding_window": 8})
MODELS["mixtral-windowed"] = ("mixtral", {"sliding_window": 8})


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    name, options = MODELS[request.param]
    return opened(name, **options)


@pytest.fixture(scope="module")
def llama() -> Model:
    return opened("llama")


def vector(seed: int) -> torch.Tensor:
    return torch.randn(32, generator=torch.Generator().manual_seed(seed))


def changes(seed: int, parallel: bool = False) -> list[tuple[Intervention, ...]]:
    """Different interventions: none, one, several, gated, at several sites and positions."""
    mid = "attn_out.1" if parallel else "resid_mid.1"
    gate = Gate(readout=readout("resid_post.0", seed=seed), label="x", threshold=0.4, hold=2)
    a, b = vector(seed), vector(seed + 1)
    return [
        (),
        (add(a, 2.0, site="resid_post.1", units="absolute"),),
        (ablate(b, site="mlp_out.1", positions="generated"),),
        (
            add(a, 3.0, site=mid, units="absolute", positions="prompt"),
            clamp(b, 1.0, site="resid_pre.2", units="absolute"),
        ),
        (add(b, 4.0, site="resid_post.1", units="absolute", gate=gate),),
    ]


def mix(seed: int, parallel: bool = False) -> list[tuple[int, Request]]:
    """A random mix of requests and the steps at which they come."""
    rng = random.Random(seed)
    requests = []
    for number, interventions in enumerate([*changes(seed, parallel), (), ()]):
        ids = [BOS, *(rng.randrange(256) for _ in range(rng.choice([0, 3, 5, 7, 21])))]
        readouts = {}
        if rng.random() < 0.7:
            readouts["near"] = SHARED
        if rng.random() < 0.5:
            readouts["ahead"] = readout("resid_post.2", "attn_out.1", look_ahead=2, seed=number)
        request = greedy(str(number), ids, rng.randrange(1, 12), readouts, interventions)
        requests.append((rng.randrange(0, 12), request))
    return requests


SHARED = readout("resid_post.1", seed=7)


def test_a_mix_comes_to_what_the_model_itself_says(model: Model) -> None:
    requests = mix(len(model.name), parallel=model.loaded.anatomy.stream == "parallel")
    core = model.engine.core(SMALL)
    steps = run(core, requests)
    for _, request in requests:
        check(model, request, steps[request.id])
        same(steps[request.id], alone(model, request))


def test_greedy_ids_are_those_of_generate(model: Model) -> None:
    rng = random.Random(3)
    prompts = [[BOS, *(rng.randrange(256) for _ in range(n))] for n in (30, 2, 11, 0)]
    steps = run(
        model.engine.core(SMALL), [(0, greedy(str(i), ids, 12)) for i, ids in enumerate(prompts)]
    )
    for number, ids in enumerate(prompts):
        prompt = torch.tensor([ids])
        expected = model.loaded.module.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=transformers.GenerationConfig(
                max_new_tokens=12, do_sample=False, pad_token_id=0
            ),
        )[0, len(ids) :].tolist()
        found = [step.token_id for step in steps[str(number)]]
        for mine, its, step in zip(found, expected, steps[str(number)], strict=True):
            if mine != its:
                assert step.top[0].logprob - step.top[1].logprob < 1e-2
                break
