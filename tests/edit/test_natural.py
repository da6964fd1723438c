"""A step of natural gradient, against differences, exact expectations and other changes."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import pytest
import torch

from endoscope.diff import Pair
from endoscope.edit.changes import Change
from endoscope.edit.inputs import batches, matrix_names, moments
from endoscope.edit.methods import natural
from endoscope.edit.methods.components import Components
from endoscope.edit.methods.natural import PRICES, RIDGE, SIZES, STEPS, WORTH, Natural
from endoscope.edit.parts import Parts, running
from endoscope.edit.passage import Passage
from endoscope.edit.pulling import pull, sensitivities
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials
from endoscope.edit.trying import Divergences, predictions
from endoscope.engine import Model
from endoscope.errors import InputError
from tests.edit.test_components import KEPT, SHOWN, pair, task

__all__ = ["pair", "task"]  # fixtures

NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
WHOLE = [Passage(text, ((0, len(text)),)) for text in ("abc xyz!", "hello you there", "a")]


def apart(pair: Pair, passages: list[Passage], parts: Parts) -> float:
    """KL(base || tuned and edited), the mean over passages."""
    return float(Divergences(pair.base, passages)(partial(running, pair.tuned, parts)).mean())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_what_differences_say(pair: Pair, name: str) -> None:
    gap, found = pull(pair.tuned, list(NAMES), Divergences(pair.base, WHOLE))
    assert gap == pytest.approx(apart(pair, WHOLE, Parts()), rel=1e-4)
    gradient = found[name].double()
    generator = torch.Generator().manual_seed(1)
    size = 0.02 / float(gradient.norm())
    drawn = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
    drawn = gradient + drawn * (gradient.norm() / drawn.norm())
    kls = []
    for sign in (1, -1):
        change = Change(sign * size * drawn, torch.eye(gradient.shape[1], dtype=torch.float64))
        kls.append(apart(pair, WHOLE, Parts(changes={name: change})))
    told = 2 * size * float((gradient * drawn).sum())
    assert kls[0] - kls[1] == pytest.approx(told, rel=0.05)


def exact(model: Model, name: str, passage: Passage) -> float:
    """The expectation that `sensitivities` draws from, over every word that might be drawn."""
    written: list[torch.Tensor] = []

    def keep(module: object, args: object, output: torch.Tensor) -> torch.Tensor:
        written.append(output.detach().requires_grad_())
        return written[0]

    handle = model.loaded.module.get_submodule(name).register_forward_hook(keep)
    (batch,) = batches(model, [passage])
    with torch.enable_grad():
        now = predictions(model, batch)
    handle.remove()
    assert len(now) == 1
    squares = [
        torch.autograd.grad(each, written[0], retain_graph=True)[0].square().sum()
        for each in now[0]
    ]
    return float((now[0].exp() * torch.stack(squares)).sum())


@pytest.mark.parametrize("name", NAMES)
def test_sensitivities_are_expectations(pair: Pair, name: str) -> None:
    passage = Passage("abc xyz!", ((4, 5),))
    found = sensitivities(pair.tuned, list(NAMES), [passage] * 1_000)
    assert found[name] == pytest.approx(exact(pair.tuned, name, passage), rel=0.15)


def test_the_metric_is_how_far_changes_move_predictions(pair: Pair) -> None:
    """To second order, for changes without a direction: half of `f E_N |C x|^2`, by their rows.

    Single numbers stand for what is written, so that some matrices (values of attention, which many
    tokens read) are up to 4 off; the numbers differ by 1,000 among them.
    """
    model = pair.tuned
    names = matrix_names(model, "readers", "writers")
    moves = sensitivities(model, names, WHOLE * 50)
    read = moments(model, names, WHOLE)
    assert max(moves.values()) > 1_000 * min(moves.values())
    divergences = Divergences(model, WHOLE)
    generator = torch.Generator().manual_seed(1)
    for name in names:
        second = read[name].second.double()
        rows = len(model.loaded.module.get_submodule(name).weight)
        logs = []
        for _ in range(6):
            drawn = torch.randn(rows, len(second), generator=generator, dtype=torch.float64)
            told = 0.5 * moves[name] * float((drawn @ second * drawn).sum()) / rows
            change = Change((1e-3 / told) ** 0.5 * drawn, torch.eye(len(second)).double())
            edited = partial(running, model, Parts(changes={name: change}))
            logs.append(math.log(float(divergences(edited).mean()) / 1e-3))
        assert abs(sum(logs) / len(logs)) < math.log(4), name


def one_whole_step(task: Task, monkeypatch: pytest.MonkeyPatch) -> Natural:
    """The method after a step that is taken whole, whatever it costs."""
    monkeypatch.setattr(natural, "BEGUN", ())
    monkeypatch.setattr(natural, "STEPS", 1)
    monkeypatch.setattr(natural, "_further", lambda path, step, *costs: ([*path, step], 0.0))
    found = Natural(task)
    found._way.go_on(math.inf)
    return found


def test_a_step_would_close_the_gap_as_it_begins(
    pair: Pair, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = one_whole_step(task, monkeypatch)
    before = apart(pair, SHOWN, Parts())
    after = apart(pair, SHOWN, found.parts({"strength": 0.01}))
    assert (before - after) / 0.01 == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("price", PRICES)
def test_each_step_pays(pair: Pair, task: Task, price: float) -> None:
    found = Natural(task)
    found._way.go_on(price)
    steps = len(found._way.path)
    assert 1 < steps <= STEPS
    costs = []
    for strength in range(steps + 1):
        parts = found.parts({"strength": strength})
        moved = Divergences(pair.tuned, KEPT)(partial(running, pair.tuned, parts)).mean()
        costs.append(apart(pair, SHOWN, parts) / apart(pair, SHOWN, Parts()) + moved / price)
    assert costs[0] == pytest.approx(1)
    for before, after in pairwise(costs):
        assert after <= (1 - WORTH) * before
    short, half, twice = (found.parts({"strength": s}).changes for s in (1.0, 1.5, 2.0))
    for name in NAMES:
        one, part, whole = (each[name].outer @ each[name].inner for each in (short, half, twice))
        torch.testing.assert_close(2 * (part - one), whole - one)


@pytest.mark.parametrize(("price", "pays"), [(1e-9, False), (math.inf, True)])
def test_components_of_the_fine_tune_go_first_where_that_pays(
    task: Task, monkeypatch: pytest.MonkeyPatch, price: float, pays: bool
) -> None:
    monkeypatch.setattr(natural, "PRICES", (price,))
    monkeypatch.setattr(natural, "BEGUN", (3.0, 30.0))
    found = Natural(task)
    path = found._way.path
    assert len(path) == pays
    if pays:
        part = Components(task).parts({"strength": 0.2 * 30.0}).changes
        for name, one in found.parts({"strength": 0.2}).changes.items():
            torch.testing.assert_close(one.inner, part[name].inner)
        assert found.parts({"strength": 1.0}).changes.keys() == part.keys()
        most = Components(task).parts({"strength": 30.0}).changes
        assert path[0].keys() == most.keys()
        for name, one in most.items():
            torch.testing.assert_close(path[0][name].outer, one.outer)
            torch.testing.assert_close(path[0][name].inner, one.inner)


class Told(Trials):
    """Trials whose strengths move as far as they are, and with which it goes at some strength."""

    def __init__(self, gone_at: float) -> None:
        self.budget, self.gone_at = 4.0, gone_at

    def moved(self, settings: Mapping[str, float]) -> float:
        return settings["strength"]

    def is_gone(self, settings: Mapping[str, float]) -> bool:
        return settings["strength"] >= self.gone_at


@pytest.mark.parametrize(
    ("gone_at", "prices", "least", "most"),
    [
        (1.5, 1, 1.5, 2.0),  # it has gone with the first steps
        (3.0, 2, 3.0, 4.0),  # with the next ones
        (9.0, 2, 2.0, 4.0),  # never, and the whole budget is spent
    ],
)
def test_steps_that_cost_more_are_taken_where_it_has_not_gone(
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    gone_at: float,
    prices: int,
    least: float,
    most: float,
) -> None:
    found = Natural(task)
    asked: list[float] = []

    def go_on(price: float) -> None:
        asked.append(price)
        found._way.path = [{}] * (2 if len(asked) == 1 else 5)

    monkeypatch.setattr(found._way, "go_on", go_on)
    assert least <= found.search(Told(gone_at))["strength"] <= most
    assert asked == list(PRICES[:prices])


def test_it_says_that_no_step_brings_it_closer(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "BEGUN", ())
    monkeypatch.setattr(natural, "_further", lambda path, *step: (path, 1.0))
    with pytest.raises(InputError, match="No step"):
        Natural(task).search(Told(1.0))


def along(costs: Callable[[float], float]) -> tuple[list[float], list[float], float]:
    """Take one more step along a line; return what was tried, the sizes taken, and the cost."""
    step = {"one": Change(torch.ones(1, 1), torch.ones(1, 1))}
    tried: list[float] = []

    def told(path: Sequence[Mapping[str, Change]]) -> float:
        tried.append(float(path[-1]["one"].outer))
        return costs(tried[-1])

    path, least = natural._further([], step, 1.0, told)
    return tried, [float(one["one"].outer) for one in path], least


def test_the_greatest_part_of_a_step_is_taken_that_pays() -> None:
    assert along(lambda size: 1 - size) == ([0.5], [0.5], 0.5)
    assert along(lambda size: 0.8 + size) == ([0.5, 0.25, 0.125], [0.125], 0.925)
    assert along(lambda size: 1 - size * WORTH) == (list(SIZES), [], 1.0)


@pytest.mark.parametrize("cost", [math.nan, math.inf, 1.0])
def test_no_step_is_taken_that_saves_nothing(cost: float) -> None:
    assert along(lambda size: cost) == (list(SIZES), [], 1.0)
    assert along(lambda size: cost if size > 0.2 else size) == (list(SIZES), [0.125], 0.125)


def test_no_other_change_brings_it_closer(
    pair: Pair, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endoscope.diff.deltas.RANK", 64)  # all of them: the matrices are small
    changes = one_whole_step(task, monkeypatch).parts({"strength": 1.0}).changes
    names = matrix_names(pair.tuned, "readers", "writers")
    _, gradients = pull(pair.tuned, names, Divergences(pair.base, SHOWN))
    moves = sensitivities(pair.tuned, names, KEPT)
    whole = [Passage(one.text, ((0, len(one.text)),)) for one in KEPT]
    read = moments(pair.tuned, names, whole)
    steps = {name: one.outer @ one.inner for name, one in changes.items()}

    def falls(steps: dict[str, torch.Tensor]) -> float:
        return -sum(float((gradients[n].double() * one).sum()) for n, one in steps.items())

    def moved(steps: dict[str, torch.Tensor]) -> float:
        total = 0.0
        for name, one in steps.items():
            second = read[name].second.double()
            second += RIDGE * second.diagonal().mean() * torch.eye(len(second))
            total += moves[name] * float((one @ second * one).sum())
        return total

    best, size = falls(steps), moved(steps)
    generator = torch.Generator().manual_seed(0)
    for share in (0.01, 0.1, 1.0):
        other = {}
        for name, one in steps.items():
            drawn = torch.randn(one.shape, generator=generator, dtype=torch.float64)
            other[name] = one + share * drawn * (one.norm() / drawn.norm())
        again = (size / moved(other)) ** 0.5
        assert falls({name: again * one for name, one in other.items()}) < best
