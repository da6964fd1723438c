"""The seam of the V2 runner where it replays graphs, on a runner that calls in its order.

vLLM's own replays graphs on GPUs alone. The batches and the outputs are its classes. What is
replayed is recorded operations on tensors, as with a CUDA graph: no Python runs within the model.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from vllm.config import CUDAGraphMode
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.worker.gpu.input_batch import InputBatch, InputBuffers

from endoscope import Site, add
from endoscope.engine.vllm import op
from endoscope.engine.vllm.board import Board, Rows
from endoscope.engine.vllm.orders import Order
from endoscope.engine.vllm.reports import Report
from endoscope.engine.vllm.seams import runner, runner_v2
from tests.engine.streams import readout

D, PADDED, MOST = 32, 8, 16
SITES = (Site.parse("resid_post.0"), Site.parse("resid_post.1"))
CPU = torch.device("cpu")
PROMPT = [7, 8, 9]
READ = readout("resid_post.1", look_ahead=1)


class Block(nn.Module):
    """Passes the stream on in two parts, as vLLM's blocks do."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((D,), 0.5))

    def forward(
        self, positions: Tensor, hidden_states: Tensor, residual: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        residual = hidden_states if residual is None else hidden_states + residual
        return torch.tanh(residual * self.scale), residual


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(), Block()])


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Inner()

    def forward(self, values: Tensor) -> Tensor:
        hidden, residual = values * 1, None
        for block in self.model.layers:
            hidden, residual = block(None, hidden, residual)
        return hidden + residual


class Runner:
    """Calls what the V2 runner calls, in its order; requests and what they scheduled are given."""

    def __init__(self) -> None:
        named = {"sites": [str(site) for site in SITES]}
        self.vllm_config = SimpleNamespace(
            model_config=SimpleNamespace(
                hf_text_config=SimpleNamespace(model_type="llama"),
                is_multimodal_model=False,
                dtype=torch.float32,
            ),
            parallel_config=SimpleNamespace(
                prefill_context_parallel_size=1,
                use_ubatching=False,
                use_sequence_parallel_moe=False,
            ),
            kv_transfer_config=None,
            compilation_config=SimpleNamespace(cudagraph_mode=CUDAGraphMode.FULL),
            speculative_config=None,
            lora_config=None,
            additional_config={"endoscope": named},
        )
        self.model_config = SimpleNamespace(get_hidden_size=lambda: D)
        self.device, self.max_num_tokens = CPU, MOST

    def load_model(self) -> None:
        self.model = Model()

    def get_model(self) -> nn.Module:
        return self.model

    def capture(self) -> None:
        """Record the model with the buffers that it has, as `capture_model` does."""
        within = {torch.ops.endoscope.visit.default: op._visit}  # nothing of ours but tensors
        self._graph = make_fx(self.model, within)(torch.randn(PADDED, D))
        assert "endoscope" not in self._graph.code

    def prepare_inputs(self, scheduled: SchedulerOutput, state: Any, padded: int) -> InputBatch:
        lengths = np.array(list(scheduled.num_scheduled_tokens.values()), dtype=np.int32)
        ends = np.full(MOST + 1, lengths.sum(), dtype=np.int32)  # longer than the batch, as there
        ends[: len(lengths) + 1] = np.concatenate([[0], lengths.cumsum()])
        batch = InputBatch.make_dummy(len(lengths), int(lengths.sum()), InputBuffers(9, MOST, CPU))
        return replace(
            batch,
            req_ids=list(scheduled.num_scheduled_tokens),
            query_start_loc_np=ends,
            num_computed_tokens_np=np.array(state),
            num_tokens_after_padding=padded,
        )

    def execute_model(
        self, scheduled: SchedulerOutput, given: None = None, *, state: Any, values: Tensor
    ) -> None:
        self._batch = self.prepare_inputs(scheduled, state, len(values))
        self.given = self._graph(values)

    def sample_tokens(self, grammar: Any) -> Any:
        names = self._batch.req_ids
        return SimpleNamespace(
            model_runner_output=ModelRunnerOutput(names, {n: i for i, n in enumerate(names)})
        )


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    class Own(Runner):
        pass

    monkeypatch.setattr(runner_v2, "GPUModelRunner", Own)
    monkeypatch.setattr(runner, "get_tp_group", lambda: SimpleNamespace(rank_in_group=0))
    runner_v2.take_hold()
    one = Own()
    one.load_model()
    one.capture()
    yield one
    op.remove()


def order(seed: int) -> Order:
    vector = torch.randn(D, generator=torch.Generator().manual_seed(seed))
    change = add(vector, 2.0, site=SITES[seed % 2], positions="generated")
    return Order((change,), dict.fromkeys(SITES, 3.0), {"p": READ})


def scheduled(lengths: dict[str, int], new: dict[str, str], over: set[str]) -> SchedulerOutput:
    out = SchedulerOutput.make_empty()
    out.num_scheduled_tokens, out.finished_req_ids = lengths, over
    out.scheduled_new_reqs = [
        SimpleNamespace(
            req_id=name,
            sampling_params=SimpleNamespace(extra_args={"endoscope": text} if text else None),
            prompt_token_ids=PROMPT,
        )
        for name, text in new.items()
    ]
    return out


STEPS: list[tuple[dict[str, tuple[int, int]], dict[str, str], set[str]]] = [
    ({"a": (3, 0), "b": (2, 0)}, {"a": order(0).text, "b": ""}, set()),
    ({"b": (1, 2), "a": (1, 3)}, {}, set()),
    ({"a": (1, 4), "c": (3, 0)}, {"c": order(1).text}, {"b"}),
    ({"c": (1, 3), "a": (1, 5)}, {}, set()),
    ({"a": (6, 0), "c": (1, 4)}, {"a": order(0).text}, set()),  # put back, and begun again
    ({"c": (1, 5)}, {}, {"a"}),
]
"""The tokens of each request in a step and how many it had; who is new; who has ended."""


def test_graphs_read_and_write_the_rows_of_each(ours: Runner) -> None:
    plain = Model()
    free = Board(D, CPU, reports=True, armed=SITES)
    for number, (rows, new, over) in enumerate(STEPS):
        generator = torch.Generator().manual_seed(number)
        values = torch.randn(PADDED, D, generator=generator)
        lengths = {name: length for name, (length, _) in rows.items()}
        state = [at for _, at in rows.values()]
        ours.execute_model(scheduled(lengths, new, over), state=state, values=values)
        output = ours.sample_tokens(None).model_runner_output

        for name in over:
            free.release(name)
        for name, text in new.items():
            if text:
                free.admit(name, text, PROMPT)
        first, own = 0, []
        for name, (length, at) in rows.items():
            own.append(Rows(name, first, length, at))
            first += length
        free.begin(own, len(values))
        given = _by_hand(plain, free, values)
        expected = free.end()

        torch.testing.assert_close(ours.given, given)
        found = {name: Report.read(one) for name, one in getattr(output, "endoscope", {}).items()}
        assert sorted(found) == sorted(expected)
        for name, report in expected.items():
            assert found[name].fault is report.fault is None
            for mine, its in ((found[name].scores, report.scores), (found[name].rest, report.rest)):
                assert mine.keys() == its.keys()
                for one, other in zip(mine.get("p", ()), its.get("p", ()), strict=True):
                    assert one.position == other.position
                    torch.testing.assert_close(one.probabilities, other.probabilities)
    assert expected["c"].scores, "nothing was read"


def _by_hand(model: Model, board: Board, values: Tensor) -> Tensor:
    """What a model without the operation gives, where a board does what is asked."""
    hidden, residual = values * 1, None
    for site, block in zip(SITES, model.model.layers, strict=True):
        hidden, residual = block(None, hidden, residual)
        sum_ = hidden + residual
        hidden = hidden + (board.visit(site, sum_) - sum_)
    return hidden + residual  # type: ignore[operator]
