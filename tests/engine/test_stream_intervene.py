"""Interventions that are put on a request while it runs."""

from collections.abc import Sequence

import pytest
from tests.engine.streams import alone, opened, readout

from endoscope.engine import Model
from endoscope.engine.core import Core
from endoscope.engine.requests import Request, Sampling, Step
from endoscope.interventions import Add, Gate, Intervention

PROMPT = (256, 72, 101, 108, 108, 111)
LATE = 4  # tokens that come before anything is put on it
SAMPLING = Sampling(12, temperature=0.0, ignore_eos=True, logprobs=3)


def push(seed: float, **more: object) -> Add:
    vector = [((i * 37 + seed * 11) % 13) - 6.0 for i in range(32)]
    return Add(site="resid_post.1", vector=vector, strength=2.0, **more)


def changed(
    model: Model, first: Sequence[Intervention], more: Sequence[Intervention]
) -> list[Step]:
    """What a request gives that something is put on after some of its tokens, among others."""
    core: Core = model.engine.core()
    for name in ("before", "it", "after"):
        core.add(Request(name, PROMPT, SAMPLING, {}, tuple(first) if name == "it" else ()))
    steps: dict[str, list[Step]] = {"before": [], "it": [], "after": []}
    while not core.idle:
        for name, step in core.step():
            steps[name].append(step)
        if len(steps["it"]) == LATE and more:
            core.intervene("it", core.prepare.compile(more))
            more = ()
    plain = alone(model, Request("plain", PROMPT, SAMPLING))
    for other in ("before", "after"):
        same(steps[other], plain)
    return steps["it"]


def same(steps: Sequence[Step], expected: Sequence[Step]) -> None:
    assert [s.token_id for s in steps] == [s.token_id for s in expected]
    assert [s.logprob for s in steps] == pytest.approx([s.logprob for s in expected], abs=1e-3)


@pytest.fixture(scope="module")
def model() -> Model:
    return opened("llama")


# The pass that follows token number LATE runs it: its position is the first that is changed.
FROM = tuple(range(len(PROMPT) + LATE - 1, 100))


@pytest.mark.parametrize("first", [(), (push(1),)], ids=["plain", "steered"])
def test_what_comes_late_acts_from_the_next_pass_on(
    model: Model, first: tuple[Intervention, ...]
) -> None:
    found = changed(model, first, [push(2)])
    late = push(2, positions=FROM)
    same(found, alone(model, Request("r", PROMPT, SAMPLING, {}, (*first, late))))
    without = alone(model, Request("r", PROMPT, SAMPLING, {}, first))
    assert [s.logprob for s in found[:LATE]] == pytest.approx(
        [s.logprob for s in without[:LATE]], abs=1e-3
    )
    assert found[LATE].logprob != pytest.approx(without[LATE].logprob, abs=1e-2)


def test_a_gate_that_was_there_keeps_its_state(model: Model) -> None:
    """It fires in the prompt, and is latched: what comes later must not close it."""
    always = Gate(readout=readout("resid_post.0"), label="x", threshold=0.0, hold="latch")
    gated = push(1, gate=always, positions="generated")
    found = changed(model, [gated], [push(2)])
    late = push(2, positions=FROM)
    same(found, alone(model, Request("r", PROMPT, SAMPLING, {}, (gated, late))))


def test_a_gate_that_comes_late_reads_from_there_on(model: Model) -> None:
    always = Gate(readout=readout("resid_post.0"), label="x", threshold=0.0)
    found = changed(model, (), [push(2, gate=always)])
    same(found, alone(model, Request("r", PROMPT, SAMPLING, {}, (push(2, positions=FROM),))))


def test_who_waits_has_it_from_the_start(model: Model) -> None:
    core = model.engine.core()
    core.add(Request("it", PROMPT, SAMPLING))
    core.intervene("it", core.prepare.compile([push(2)]))
    core.intervene("nobody", core.prepare.compile([push(2)]))
    steps = []
    while not core.idle:
        steps += [step for _, step in core.step()]
    same(steps, alone(model, Request("r", PROMPT, SAMPLING, {}, (push(2),))))
