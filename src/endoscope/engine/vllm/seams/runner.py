"""What all model runners have of ours: requests as they come and go, and a pass and its reports.

vLLM has two runners, in files of their own here: V1 (`runner_v1.py`) and V2 (`runner_v2.py`).
"""

from collections.abc import Sequence
from functools import wraps
from typing import Any

import msgspec
import torch
from torch import Tensor
from vllm.distributed.parallel_state import get_tp_group
from vllm.sequence import IntermediateTensors

from endoscope.engine.vllm.board import Board, Rows
from endoscope.engine.vllm.fixed import Buffers
from endoscope.engine.vllm.op import install
from endoscope.engine.vllm.reports import Report
from endoscope.engine.vllm.seams.layers import arm
from endoscope.engine.vllm.seams.settings import KEY, Settings

_WITHIN = ("model_runner_output", "_model_runner_output")
"""Where outputs whose tokens are still on their way hold the one that goes on (V2 and V1)."""


class Held:
    """What a runner has of ours.

    Attributes:
        board: what its requests read and write.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._earlier: dict[str, Report] = {}  # of the stages before, in the pass that is running

    @staticmethod
    def of(runner: Any) -> "Held | None":
        """Return what a runner has; None: its model is not supported."""
        return getattr(runner, "_endoscope", None)

    def follow(self, scheduled: Any) -> None:
        """Know the requests that a step (`SchedulerOutput`) begins, and forget those that ended."""
        for name in scheduled.finished_req_ids:
            self.board.release(name)
        for new in scheduled.scheduled_new_reqs:
            params = new.sampling_params
            text = params.extra_args.get(KEY) if params and params.extra_args else None
            if text is not None:
                self.board.admit(new.req_id, text, new.prompt_token_ids)

    def begin(self, names: Sequence[str], ends: Any, positions: Any, total: int) -> None:
        """Say whose the rows of the pass that comes are.

        Args:
            names: of its requests, in order.
            ends: where the rows of each begin, and where those of the last end.
            positions: of the first row of each.
            total: how many rows there are, padding counted.
        """
        rows = [
            Rows(name, int(ends[i]), int(ends[i + 1] - ends[i]), int(position))
            for i, (name, position) in enumerate(zip(names, positions, strict=True))
        ]
        self.board.begin(rows, total)

    def end(self, output: Any) -> None:
        """Look at what the pass brought, and let it go with its output (None: it has none)."""
        reports = self._ended()
        if reports and output is not None:
            for within in _WITHIN:
                output = getattr(output, within, output)
            output.endoscope = reports

    def send(self, output: IntermediateTensors) -> IntermediateTensors:
        """End the pass on a stage of a pipeline that is not the last: the next one reports."""
        reports = self._ended()
        if not reports:
            return output
        return IntermediateTensors({**output.tensors, KEY: _packed(reports)})

    def receive(self, given: IntermediateTensors | None) -> None:
        """Take what the stage before sent, out of what the model is given."""
        if given is not None and (packed := given.tensors.pop(KEY, None)) is not None:
            plain, _ = msgspec.msgpack.decode(packed.numpy().tobytes())
            self._earlier = {name: Report.read(one) for name, one in plain.items()}

    def _ended(self) -> dict[str, dict[str, Any]]:
        reports = self.board.end()
        for name, one in self._earlier.items():
            reports[name] = one.joined(reports[name]) if name in reports else one
        self._earlier = {}
        return {name: one.plain() for name, one in reports.items()}


def not_finite(logits: Tensor) -> Tensor:
    """Return for each row `[rows]` of logits whether it has what is no number, as 0 or 1.

    In place of vLLM's own count, which leaves out infinities. Those below are not looked for:
    tokens that a request may not have are given one.
    """
    return (~logits.amax(-1).isfinite()).int()


def _packed(reports: dict[str, dict[str, Any]]) -> Tensor:
    """Return reports as bytes `[n]`.

    Tensors whose number of elements the workers of a stage divide are sent in parts, one by each.
    Reports are of one worker, so that they get a byte more where that would be.
    """
    data = msgspec.msgpack.encode((reports, b""))
    if len(data) % get_tp_group().world_size == 0:
        data = msgspec.msgpack.encode((reports, b"0"))
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def loading(original: Any) -> Any:
    """Wrap `load_model`: the model that it loads gets a board."""

    @wraps(original)
    def load_model(self: Any, *args: Any, **named: Any) -> Any:
        settings = Settings.of(self.vllm_config)
        done = original(self, *args, **named)
        if settings is not None:
            self._endoscope = _armed(self, settings)
        return done

    return load_model


def executing(original: Any) -> Any:
    """Wrap `execute_model`: the board knows of the requests first, and of the stages before."""

    @wraps(original)
    def execute_model(
        self: Any, scheduler_output: Any, intermediate_tensors: Any = None, **named: Any
    ) -> Any:
        held = Held.of(self)
        if held is not None:
            held.follow(scheduler_output)
            held.receive(intermediate_tensors)
        output = original(self, scheduler_output, intermediate_tensors, **named)
        if held is not None and isinstance(output, IntermediateTensors):
            return held.send(output)
        return output

    return execute_model


def sampling(original: Any) -> Any:
    """Wrap `sample_tokens`: the pass ends once the next tokens are being sampled.

    To look at what it brought waits for the GPU, which has something to do by then.
    """

    @wraps(original)
    def sample_tokens(self: Any, *args: Any, **named: Any) -> Any:
        output = original(self, *args, **named)
        if (held := Held.of(self)) is not None:
            held.end(output)
        return output

    return sample_tokens


def _armed(runner: Any, settings: Settings) -> Held:
    places, here = arm(runner.get_model(), settings.family, settings.kinds, settings.sites)
    width, buffers = runner.model_config.get_hidden_size(), None
    if settings.buffers:
        size = settings.stages, settings.rows, runner.max_num_tokens, width
        buffers = {site: Buffers(site, *size, runner.device) for site in here}
    armed = {site for place in places for site in place}
    first = get_tp_group().rank_in_group == 0
    board = Board(width, runner.device, reports=first, armed=armed, here=here, buffers=buffers)
    install(board, places)
    return Held(board)
