"""The V1 model runner: its requests, whose the rows of a pass are, and what goes with its output.

It is what runs on CPUs. On GPUs vLLM's default is the V2 runner, which is refused so far.
"""

from functools import wraps
from typing import Any

from vllm.distributed.parallel_state import get_tp_group
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from endoscope.engine.vllm.board import Board, Rows
from endoscope.engine.vllm.fixed import Buffers
from endoscope.engine.vllm.op import install
from endoscope.engine.vllm.reports import Report
from endoscope.engine.vllm.seams.layers import arm
from endoscope.engine.vllm.seams.settings import KEY, Settings


class _Held:
    """What a runner has of ours."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.reports: dict[str, Report] = {}


def take_hold() -> None:
    """Have runners of this process, of all models that they load from here on, carry a board."""
    for cls in (GPUModelRunner, CPUModelRunner):
        if "load_model" in vars(cls):
            cls.load_model = _loading(cls.load_model)
    GPUModelRunner.execute_model = _executing(GPUModelRunner.execute_model)
    GPUModelRunner._model_forward = _running(GPUModelRunner._model_forward)
    GPUModelRunner.sample_tokens = _sampling(GPUModelRunner.sample_tokens)


def _loading(original: Any) -> Any:
    @wraps(original)
    def load_model(self: Any, *args: Any, **named: Any) -> Any:
        settings = Settings.of(self.vllm_config)
        done = original(self, *args, **named)
        if settings is not None:
            places = arm(self.get_model(), settings.family, settings.kinds, settings.sites)
            first = get_tp_group().rank_in_group == 0
            width, buffers = self.model_config.get_hidden_size(), None
            if settings.buffers:
                size = settings.stages, settings.rows, self.max_num_tokens, width
                sites = settings.sites or ()
                buffers = {site: Buffers(site, *size, self.device) for site in sites}
            armed = {site for place in places for site in place}
            if settings.sites is not None:
                armed &= set(settings.sites)
            board = Board(width, self.device, reports=first, armed=armed, buffers=buffers)
            install(board, places)
            self._endoscope = _Held(board)
        return done

    return load_model


def _executing(original: Any) -> Any:
    @wraps(original)
    def execute_model(self: Any, scheduler_output: Any, *args: Any, **named: Any) -> Any:
        if (held := getattr(self, "_endoscope", None)) is not None:
            for name in scheduler_output.finished_req_ids:
                held.board.release(name)
            for new in scheduler_output.scheduled_new_reqs:
                params = new.sampling_params
                text = params.extra_args.get(KEY) if params and params.extra_args else None
                if text is not None:
                    held.board.admit(new.req_id, text, new.prompt_token_ids)
        return original(self, scheduler_output, *args, **named)

    return execute_model


def _running(original: Any) -> Any:
    @wraps(original)
    def _model_forward(self: Any, *args: Any, **named: Any) -> Any:
        held = getattr(self, "_endoscope", None)
        if held is None:
            return original(self, *args, **named)
        batch, ends = self.input_batch, self.query_start_loc.np
        rows = [
            Rows(name, int(ends[i]), int(ends[i + 1] - ends[i]), int(position))
            for i, (name, position) in enumerate(
                zip(batch.req_ids, batch.num_computed_tokens_cpu[: batch.num_reqs], strict=True)
            )
        ]
        held.board.begin(rows, named["positions"].shape[-1])
        out = original(self, *args, **named)
        held.reports = held.board.end()
        return out

    return _model_forward


def _sampling(original: Any) -> Any:
    @wraps(original)
    def sample_tokens(self: Any, *args: Any, **named: Any) -> Any:
        out = original(self, *args, **named)
        held = getattr(self, "_endoscope", None)
        if held is not None and held.reports and out is not None:
            reports, held.reports = held.reports, {}
            out.endoscope = {name: report.plain() for name, report in reports.items()}
        return out

    return sample_tokens
