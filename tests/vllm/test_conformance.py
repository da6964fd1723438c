"""What vLLM reads, changes and writes is what the model itself says, as on transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import endoscope
from endoscope import Site, ablate, add, clamp
from endoscope.engine.batching import Row
from endoscope.engine.requests import Request, Sampling
from endoscope.engine.vllm.seams import frontend
from endoscope.errors import InputError
from endoscope.server.guards_loading import check_sites
from tests.engine.streams import check, greedy, readout, run, same
from tests.engine.test_stream_core import mix
from tests.vllm.conftest import KINDS, Pair, save

TINY = ["llama", "qwen3", "gemma3", "mixtral"]
TEXTS = [
    "The sea is calm today, and the harbour is full of small boats.",
    "In 1999 Mary Jones wrote to the bank. 明日は東京駅で田中さんに会います。",
]


@pytest.fixture(scope="module", params=TINY)
def tiny(request: pytest.FixtureRequest, pairs: Callable[..., Pair]) -> Pair:
    return pairs(request.param)


@pytest.fixture(scope="module", params=["smollm2-135m-instruct", "gemma-3-270m"])
def embedded(request: pytest.FixtureRequest, pairs: Callable[..., Pair]) -> Pair:
    return pairs(request.param, enforce_eager=request.param.startswith("gemma"))


# First what is asked of the model that is still open, so that it is not started again.


def test_what_it_cannot_do_is_refused(pairs: Callable[..., Pair]) -> None:
    model = pairs("llama").vllm
    with pytest.raises(InputError, match="whole distributions"):
        model.divergence(["a"], ["b"])
    with pytest.raises(InputError, match="more than the 511"):
        model.generate(["x" * 505], max_tokens=20)
    with pytest.raises(InputError, match="gate"):
        model.engine.intervene("nobody", [add(torch.ones(32), 1, site="resid_post.1")])
    with pytest.raises(InputError, match="without its weights"):
        _ = model.loaded.anatomy.unembedding


def test_a_row_may_keep_its_end_alone(pairs: Callable[..., Pair]) -> None:
    pair = pairs("llama")
    site = Site.parse("resid_post.1")
    row = Row([256, *range(60)], start=37)
    ((_, mine),) = pair.vllm.engine.read([row], [site], batch_tokens=1000)
    ((_, its),) = pair.transformers.engine.read([row], [site], batch_tokens=1000)
    torch.testing.assert_close(mine[site], its[site], rtol=1e-4, atol=1e-5)


def test_a_mix_comes_to_what_the_model_itself_says(tiny: Pair) -> None:
    """Requests come and go between steps, each with its own readouts and interventions."""
    for seed in range(3):
        requests = mix(seed)
        steps = run(tiny.vllm.engine._core, requests)
        for _, request in requests:
            check(tiny.transformers, request, steps[request.id])


def test_activations_are_those_of_transformers(embedded: Pair) -> None:
    """The embedded Llama runs compiled: the operation is in its graph."""
    model = embedded.transformers
    layers = (0, 1, model.n_layers // 2, model.n_layers - 1)
    sites = [Site(n, kind) for n in layers for kind in ("resid_pre", *KINDS, "resid_post")]
    mine = embedded.vllm.capture(TEXTS, sites)
    its = model.capture(TEXTS, sites)
    assert mine.token_ids.tolist() == its.token_ids.tolist()
    for site in sites:
        error = (mine[site] - its[site]).norm() / its[site].norm()
        assert error < 1e-4, site


def test_probes_and_interventions_on_embedded_models(embedded: Pair) -> None:
    model = embedded.transformers
    layer = model.n_layers // 2
    width = model.d_model
    near = readout(f"resid_post.{layer}", d_model=width)
    ahead = readout(f"resid_post.{layer}", "mlp_out.1", look_ahead=2, d_model=width, seed=1)
    vectors = torch.randn(4, width, generator=torch.Generator().manual_seed(0))
    prompts = [tuple(one.ids) for one in model.tokenizer.encode_batch(TEXTS)]
    sampling = Sampling(20, temperature=0.0, ignore_eos=True, logprobs=3)
    requests = [
        Request(
            str(number),
            prompts[number % 2],
            sampling,
            {"near": near, "ahead": ahead} if number % 3 else {},
            (add(vector, 0.3, site=f"resid_post.{layer}"),) if number else (),
        )
        for number, vector in enumerate(vectors)
    ]
    its = {name: list(steps) for name, steps in gathered(model, requests).items()}
    for name, steps in gathered(embedded.vllm, requests).items():
        same(steps, its[name])
        if [s.token_id for s in steps] != [s.token_id for s in its[name]]:
            continue  # after a near-tie another text is read
        for reading in ("near", "ahead"):
            mine = [one for step in steps for one in step.readings.get(reading, ())]
            wanted = [one for step in its[name] for one in step.readings.get(reading, ())]
            assert [one.position for one in mine] == [one.position for one in wanted]
            for one, other in zip(mine, wanted, strict=True):
                assert (one.probabilities - other.probabilities).abs().max() < 1e-3


def gathered(model, requests):  # type: ignore[no-untyped-def]
    steps: dict[str, list] = {request.id: [] for request in requests}  # type: ignore[type-arg]
    for name, step in model.engine.run(requests):
        steps[name].append(step)
    return steps


def test_likelihoods_are_those_of_transformers(embedded: Pair) -> None:
    prompts, after = ["The capital of France is"], [" Paris, and that of Japan is Tokyo."]
    assert embedded.vllm.log_likelihood(prompts, after) == pytest.approx(
        embedded.transformers.log_likelihood(prompts, after), abs=1e-3
    )


def test_generated_text_is_that_of_transformers(embedded: Pair) -> None:
    prompts = [text[:20] for text in TEXTS]
    assert embedded.vllm.generate(prompts, max_tokens=12) == embedded.transformers.generate(
        prompts, max_tokens=12
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_model_len": -5}, "vLLM refuses its options"),
        ({"max_num_seqs": "abc"}, "vLLM refuses its options"),
        ({"tensor_parallel_size": 2.5}, "vLLM refuses its options"),
        ({"no_such": 1}, "vLLM has no option 'no_such'"),
        ({"enable_lora": True}, "not with adapters"),
        (
            {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2}},
            "not under speculative decoding",
        ),
        (
            {"kv_transfer_config": {"kv_connector": "ExampleConnector", "kv_role": "kv_both"}},
            "not with a KV connector",
        ),
    ],
)
def test_what_it_cannot_start_with_is_refused_before_it_starts(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        endoscope.open(save(tmp_path, "llama"), engine="vllm", **options)


def test_without_its_plugin_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All would be answered as if nothing had been asked."""
    monkeypatch.setattr(frontend, "_held", False)
    with pytest.raises(InputError, match="VLLM_PLUGINS"):
        endoscope.open(save(tmp_path, "llama"), engine="vllm")


def test_with_buffers_it_is_the_same(pairs: Callable[..., Pair]) -> None:
    """As where graphs are replayed, compiled: named sites and no others, without gates."""
    sites = ("resid_post.0", "resid_post.1", "resid_pre.2", "mlp_out.1")
    config = {"endoscope": {"buffers": True}}
    pair = pairs("llama", sites=sites, enforce_eager=False, additional_config=config)
    vectors = torch.randn(4, 32, generator=torch.Generator().manual_seed(3))
    changes = [
        (),
        (add(vectors[0], 2.0, site="resid_post.1", units="absolute"),),
        (ablate(vectors[1], site="mlp_out.1", positions="generated"),),
        (
            add(vectors[2], 3.0, site="resid_post.0", units="absolute", positions="prompt"),
            clamp(vectors[3], 1.0, site="resid_pre.2", units="absolute"),
        ),
    ]
    near, ahead = readout("resid_post.1"), readout("resid_post.0", "mlp_out.1", look_ahead=2)
    with pytest.raises(InputError, match=r"probe p: resid_pre\.1 was not named"):
        check_sites(readout("resid_pre.1"), pair.vllm.engine.check, "probe p")
    requests = [
        (number, greedy(str(number), (256, *range(9 * number)), 9, readouts, change))
        for number, (change, readouts) in enumerate(
            zip([*changes, *changes], [{}, {"a": near}, {"b": ahead}] * 3, strict=False)
        )
    ]
    pair.agree(requests)
    with pytest.raises(InputError, match="was not named"):
        pair.vllm.capture(["a"], "resid_post.2")
    assert pair.vllm.typical_norm("resid_post.1") == pytest.approx(
        pair.transformers.typical_norm("resid_post.1"), rel=1e-3
    )
