"""Buffers for graphs that are replayed, and the operation in graphs that are compiled."""

import random
from collections.abc import Iterator

import pytest
import torch
from tests.engine.streams import readout
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from endoscope import Site, ablate, add, clamp
from endoscope.engine.vllm import op
from endoscope.engine.vllm.board import Board, Rows
from endoscope.engine.vllm.fixed import Buffers
from endoscope.engine.vllm.orders import Order
from endoscope.engine.vllm.reports import Report
from endoscope.interventions import Gate, Intervention
from endoscope.readouts import PositionScores

D, TOKENS = 32, 24
SITES = [Site.parse("resid_post.0"), Site.parse("resid_post.1")]
READ = readout("resid_post.1", look_ahead=1)
GATE = Gate(readout=readout("resid_post.0"), label="x")
LATER = Gate(readout=readout("resid_post.0", look_ahead=1), label="x", threshold=0.3, hold=2)
"""Acts from the next pass on, at the site where its probe reads or at the one after it."""
PROMPT = tuple(range(6))
CPU = torch.device("cpu")


def buffers(stages: int = 2, rows: int = 8) -> dict[Site, Buffers]:
    return {site: Buffers(site, stages, rows, TOKENS, D, CPU) for site in SITES}


def vector(seed: int) -> Tensor:
    return torch.randn(D, generator=torch.Generator().manual_seed(seed))


def change(seed: int) -> Intervention:
    site = SITES[seed % 2]
    match seed % 3:
        case 0:
            positions = ("all", "prompt", "generated")[seed % 4 % 3]
            gate = LATER if seed % 2 else None
            more = {"positions": positions, "keep_norm": seed % 5 == 0, "gate": gate}
            return add(vector(seed), 1.0, site=site, **more)
        case 1:
            return ablate(torch.stack([vector(seed), vector(seed + 9)]), site=site)
    return clamp(vector(seed), 1.0, site=site, units="absolute")


def order(*changes: Intervention, reads: bool = False) -> Order:
    return Order(changes, dict.fromkeys(SITES, 3.0), {"p": READ} if reads else {})


def both() -> tuple[Board, Board]:
    return board(), board(buffers())


def board(fixed: dict[Site, Buffers] | None = None) -> Board:
    return Board(D, CPU, reports=True, armed=SITES, buffers=fixed)


def run(one: Board, rows: list[Rows], values: Tensor) -> tuple[Tensor, dict[str, Report]]:
    """A model of two blocks, each of which adds the values: what it gives, and the reports."""
    one.begin(rows, len(values))
    h = values
    for site in SITES:
        h = h + values
        h = one.visit(site, h) if one.buffers is None else one.buffers[site].visit(h)
    return h, one.end()


def scores(report: Report) -> list[PositionScores]:
    return [*report.scores.get("p", ()), *report.rest.get("p", ())]


def test_buffers_do_what_is_decided_pass_by_pass() -> None:
    """Requests come and go, in any rows, with padding behind them."""
    rng = random.Random(0)
    free, fixed = both()
    here: dict[str, int] = {}  # positions
    for step in range(60):
        if len(here) < 3 and rng.random() < 0.5:
            name = str(step)
            text = order(change(step), change(step + 1), reads=step % 2 == 0).text
            for each in (free, fixed):
                each.admit(name, text, PROMPT)
            here[name] = 0
        elif here and rng.random() < 0.2:
            name = rng.choice(sorted(here))
            del here[name]
            for each in (free, fixed):
                each.release(name)
        rows, first = [], 0
        for name in rng.sample(sorted(here), len(here)):
            length = rng.choice([1, 1, 3])
            rows.append(Rows(name, first, length, here[name]))
            here[name] += length
            first += length
        values = torch.randn(first + rng.randrange(4) + 1, D)
        expected, wanted = run(free, rows, values)
        found, came = run(fixed, rows, values)
        torch.testing.assert_close(found, expected)
        assert torch.equal(found[first:], expected[first:])  # padding
        assert sorted(came) == sorted(wanted)
        for name, report in wanted.items():
            for one, other in zip(scores(came[name]), scores(report), strict=True):
                assert one.position == other.position
                torch.testing.assert_close(one.probabilities, other.probabilities)


def test_a_captured_graph_does_what_the_buffers_say_when_it_is_replayed() -> None:
    """As a CUDA graph, what is recorded here is operations on tensors, and no Python."""
    where = buffers()
    fixed = board(where)

    def model(values: Tensor) -> Tensor:
        h = values
        for site in SITES:
            h = where[site].visit(h + values)
        return h

    captured = make_fx(model)(torch.randn(8, D))
    free = board()
    for number in range(6):
        for each in (free, fixed):
            each.admit(str(number), order(change(number), reads=True).text, PROMPT)
            if number > 2:
                each.release(str(number - 3))
        rows = [Rows(str(number), 2, 3, number), Rows(str(number - 1), 5, 1, 7)]
        values = torch.randn(8, D)
        fixed.begin(rows, 8)
        found = captured(values)
        came = fixed.end()
        expected, wanted = run(free, rows, values)
        torch.testing.assert_close(found, expected)
        assert sorted(came) == sorted(wanted)
        for name, report in wanted.items():
            for one, other in zip(scores(came[name]), scores(report), strict=True):
                torch.testing.assert_close(one.probabilities, other.probabilities)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (order(ablate(vector(0), site="resid_post.5")), "is not there"),
        (Order(readouts={"p": readout("resid_post.7")}), "is not there"),
        (order(*[change(3)] * 3), "room for 2 interventions"),
        (order(ablate(torch.randn(9, D), site=SITES[0])), "no room left"),
        (order(add(vector(0), 1.0, site=SITES[1], gate=GATE)), "no gate can act in the pass"),
    ],
)
def test_what_has_no_room_is_the_fault_of_its_request(asked: Order, says: str) -> None:
    fixed = board(buffers())
    fixed.admit("good", order(change(0)).text, PROMPT)
    fixed.admit("bad", asked.text, PROMPT)
    _, reports = run(fixed, [Rows("bad", 0, 1, 0), Rows("good", 1, 1, 0)], torch.randn(2, D))
    assert says in str(reports["bad"].fault)
    assert "good" not in reports
    fixed.admit("next", order(change(1)).text, PROMPT)  # its place is free again
    _, reports = run(fixed, [Rows("next", 0, 1, 0)], torch.randn(1, D))
    assert reports == {}


class Blocks(nn.Module):
    """Two blocks that pass the stream on in two parts, as those of vLLM do."""

    def forward(self, values: Tensor) -> Tensor:
        hidden, residual = values.clone(), values * 2
        for place in range(2):
            hidden = torch.relu(hidden) + 0.5
            torch.ops.endoscope.visit(hidden, residual, place)
            residual = hidden + residual
            hidden = residual * 0.1
        return hidden + residual


@pytest.fixture(params=[False, True], ids=["pass by pass", "buffers"])
def installed(request: pytest.FixtureRequest) -> Iterator[Board]:
    one = board(buffers() if request.param else None)
    op.install(one, [(SITES[0],), (SITES[1],)])
    yield one
    op.remove()


def test_one_model_a_process(installed: Board) -> None:
    with pytest.raises(RuntimeError, match="one model"):
        op.install(installed, [(SITES[0],)])


def test_the_operation_survives_compilers(installed: Board) -> None:
    """It is in the graph, in its place, and what it does there may change from pass to pass."""
    graphs = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compilers = [
        torch.compile(Blocks(), fullgraph=True, backend=backend)
        for backend in (keep, "aot_eager", "inductor")
    ]
    installed.admit("a", order(change(0), change(1), reads=True).text, PROMPT)
    installed.admit("b", order(reads=True).text, PROMPT)
    installed.admit("c", order(change(3)).text, PROMPT)
    rows = {0: [], 1: [Rows("a", 0, 2, 0), Rows("c", 2, 3, 1)], 2: [Rows("b", 1, 2, 0)]}
    for values in torch.randn(3, 6, D):
        for number in (0, 1, 2, 1):
            results = []
            for model in (Blocks(), *compilers):
                installed.begin(rows[number], 6)
                results.append(model(values))
                installed.end()
            for found in results[1:]:
                torch.testing.assert_close(found, results[0])
            if number != 1:
                torch.testing.assert_close(results[0], plain(values))
            else:
                assert not torch.allclose(results[0][:5], plain(values)[:5])
    (graph,) = graphs
    assert sum("visit" in str(node.target) for node in graph.graph.nodes) == 2


def plain(values: Tensor) -> Tensor:
    hidden, residual = values.clone(), values * 2
    for _ in range(2):
        residual = torch.relu(hidden) + 0.5 + residual
        hidden = residual * 0.1
    return hidden + residual
