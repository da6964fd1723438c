"""The V2 model runner, vLLM's default on GPUs.

Written against its source; a pass begins as soon as its inputs stand, since graphs that are
replayed call nothing that could say so.
"""

from functools import wraps
from typing import Any

from vllm.v1.worker.gpu.model_runner import GPUModelRunner
from vllm.v1.worker.gpu.sample import sampler

from endoscope.engine.vllm.seams.runner import Held, executing, loading, not_finite, sampling


def take_hold() -> None:
    """Have runners of this process, of all models that they load from here on, carry a board."""
    GPUModelRunner.load_model = loading(GPUModelRunner.load_model)
    GPUModelRunner.execute_model = executing(GPUModelRunner.execute_model)
    GPUModelRunner.prepare_inputs = _preparing(GPUModelRunner.prepare_inputs)
    GPUModelRunner.sample_tokens = sampling(GPUModelRunner.sample_tokens)
    sampler.get_num_nans = not_finite


def _preparing(original: Any) -> Any:
    @wraps(original)
    def prepare_inputs(self: Any, *args: Any, **named: Any) -> Any:
        batch = original(self, *args, **named)
        if (held := Held.of(self)) is not None:
            held.begin(
                batch.req_ids,
                batch.query_start_loc_np,
                batch.num_computed_tokens_np,
                batch.num_tokens_after_padding,
            )
        return batch

    return prepare_inputs
