"""A step of natural gradient, against differences, exact expectations and other changes."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest
import torch

from endoscope.diff import Pair
from endoscope.edit.changes import Change
from endoscope.edit.inputs import batches, matrix_names, moments
from endoscope.edit.methods import natural
from endoscope.edit.methods.natural import NEAR, RIDGE, SIZES, STEPS, Natural
from endoscope.edit.parts import Parts, running
from endoscope.edit.passage import Passage
from endoscope.edit.pulling import pull, sensitivities
from endoscope.edit.task import Task
from endoscope.edit.trying import Divergences, predictions
from endoscope.engine import Model
from tests.edit.test_components import KEPT, SHOWN, pair, task

__all__ = ["pair", "task"]  # fixtures

NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
WHOLE = [Passage(text, ((0, len(text)),)) for text in ("abc xyz!", "hello you there", "a")]


def apart(pair: Pair, passages: list[Passage], parts: Parts) -> float:
    """KL(base || tuned and edited), the mean over passages."""
    return float(Divergences(pair.base, passages)(partial(running, pair.tuned, parts)).mean())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_what_differences_say(pair: Pair, name: str) -> None:
    found = pull(pair.tuned, pair.base, list(NAMES), WHOLE)
    assert found.apart == pytest.approx(apart(pair, WHOLE, Parts()), rel=1e-4)
    gradient = found.gradients[name].double()
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


def test_a_step_would_close_the_gap_as_it_begins(
    pair: Pair, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(natural, "_further", lambda path, step, left, now: ([step], 0.0))
    found = Natural(task)
    before = apart(pair, SHOWN, Parts())
    after = apart(pair, SHOWN, found.parts({"strength": 0.01}))
    assert (before - after) / 0.01 == pytest.approx(before, rel=0.05)


def test_each_step_brings_it_closer(pair: Pair, task: Task) -> None:
    found = Natural(task)
    steps = len(found._path)
    gaps = [apart(pair, SHOWN, found.parts({"strength": n})) for n in range(steps + 1)]
    assert gaps == sorted(gaps, reverse=True)
    assert steps == STEPS or gaps[-1] <= NEAR * gaps[0]
    short, half, twice = (found.parts({"strength": s}).changes for s in (1.0, 1.5, 2.0))
    for name in NAMES:
        one, part, whole = (each[name].outer @ each[name].inner for each in (short, half, twice))
        torch.testing.assert_close(2 * (part - one), whole - one)


def along(left: Callable[[float], float]) -> tuple[list[float], list[float], float]:
    """Take one more step along a line; return what was tried, the sizes taken, and what is left."""
    step = {"one": Change(torch.ones(1, 1), torch.ones(1, 1))}
    tried: list[float] = []

    def told(path: Sequence[Mapping[str, Change]]) -> float:
        tried.append(float(path[-1]["one"].outer))
        return left(tried[-1])

    path, leaves = natural._further([], step, told, 1.0)
    return tried, [float(one["one"].outer) for one in path], leaves


@pytest.mark.parametrize("rises", [0.0, 1.0, math.nan])
def test_no_step_is_taken_that_brings_no_closer(rises: float) -> None:
    assert along(lambda size: 1.0 + rises * size) == (list(SIZES), [], 1.0)


def test_a_step_that_goes_too_far_is_cut_short() -> None:
    assert along(lambda size: abs(1 - size)) == ([0.5], [0.5], 0.5)
    tried, taken, leaves = along(lambda size: (10 * size - 1) ** 2)
    assert (tried, taken) == ([0.5, 0.125], [0.125])
    assert leaves == pytest.approx(0.0625)


def test_no_other_change_brings_it_closer(
    pair: Pair, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endoscope.diff.deltas.RANK", 64)  # all of them: the matrices are small
    monkeypatch.setattr(natural, "_further", lambda path, step, left, now: ([step], 0.0))
    names = matrix_names(pair.tuned, "readers", "writers")
    changes = natural.Natural(task).parts({"strength": 1.0}).changes
    gradients = pull(pair.tuned, pair.base, names, SHOWN).gradients
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
