"""The V1 model runner, which is what runs on CPUs."""

from functools import wraps
from typing import Any

from vllm.v1.worker import gpu_model_runner
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from endoscope.engine.vllm.seams.runner import Held, executing, loading, not_finite, sampling


def take_hold() -> None:
    """Have runners of this process, of all models that they load from here on, carry a board."""
    for cls in (GPUModelRunner, CPUModelRunner):
        if "load_model" in vars(cls):
            cls.load_model = loading(cls.load_model)
    GPUModelRunner.execute_model = executing(GPUModelRunner.execute_model)
    GPUModelRunner._model_forward = _running(GPUModelRunner._model_forward)
    GPUModelRunner.sample_tokens = sampling(GPUModelRunner.sample_tokens)
    gpu_model_runner.count_nans_per_row = not_finite


def _running(original: Any) -> Any:
    @wraps(original)
    def _model_forward(self: Any, *args: Any, **named: Any) -> Any:
        if (held := Held.of(self)) is not None:
            batch = self.input_batch
            positions = batch.num_computed_tokens_cpu[: batch.num_reqs]
            total = named["positions"].shape[-1]
            held.begin(batch.req_ids, self.query_start_loc.np, positions, total)
        return original(self, *args, **named)

    return _model_forward
