"""Requests on tiny models, and what each must come to: the model's own forward pass, alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from tests.tiny import tiny_model, tiny_module
from torch import Tensor

from endoscope.engine import Model
from endoscope.engine.core import Core
from endoscope.engine.hooks import visiting
from endoscope.engine.requests import Limits, Request, Sampling, Step
from endoscope.engine.transformers import TransformersEngine
from endoscope.interventions import Intervention, Operator
from endoscope.models import Anatomy, Site
from endoscope.readouts import FeatureSpec, LogisticHead, Readout

LABELS = ("O", "x", "y")
GAP = 1e-2  # below it, which of two tokens is the more probable says nothing
CLOSE = 1e-3


def readout(*sites: str, look_ahead: int = 0, d_model: int = 32, seed: int = 0) -> Readout:
    """A random linear probe."""
    spec = FeatureSpec(tuple(Site.parse(site) for site in sites), look_ahead)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, spec.width(d_model), generator=generator) / 4
    return Readout(spec, LogisticHead(weight, torch.zeros(3), LABELS))


def run(
    core: Core, requests: Sequence[tuple[int, Request]], cancelled: Mapping[str, int] | None = None
) -> dict[str, list[Step]]:
    """Add each request at its step, cancel some at theirs, and go on until all have ended."""
    out: dict[str, list[Step]] = {request.id: [] for _, request in requests}
    coming = sorted(requests, key=lambda pair: pair[0])
    for number in range(10_000):
        while coming and (coming[0][0] <= number or core.idle):
            core.add(coming.pop(0)[1])
        for name, step in (cancelled or {}).items():
            if step == number:
                core.cancel(name)
        for name, step in core.step():
            assert not (out[name] and out[name][-1].finish), "a step after the last"
            out[name].append(step)
        if core.idle and not coming:
            return out
    raise AssertionError("it does not come to an end")


def alone(model: Model, request: Request) -> list[Step]:
    """The same request, with nobody else there."""
    return run(model.engine.core(Limits(prompt_tokens=4096)), [(0, request)])[request.id]


def opened(name: str, **options: object) -> Model:
    """A tiny model, with other options than its usual ones perhaps; its sites have norm 10."""
    model = tiny_model(name)
    if options:
        module = tiny_module(name, **options)
        loaded = dataclasses.replace(model.loaded, module=module, anatomy=Anatomy(module))
        model = Model(loaded)
    model.engine = TransformersEngine(model.loaded, lambda _: 10.0)
    return model


class Truth(NamedTuple):
    """What a model makes of a whole text in one pass of its own."""

    logprobs: Tensor  # [tokens, vocabulary]
    values: dict[Site, Tensor]  # [tokens, d_model]


def truth(
    model: Model,
    ids: Sequence[int],
    prompt: int,
    interventions: tuple[Intervention, ...],
    sites: Sequence[Site],
) -> Truth:
    """Run a text through the Hugging Face model: its own masks and positions, no cache."""
    values: dict[Site, Tensor] = {}
    operator = Operator()
    if interventions:
        unscored = model.tokenizer.unscored(ids)
        operator.admit(1, model.engine.compile(interventions), prompt, unscored=unscored)
    slots, positions = torch.ones(len(ids), dtype=torch.long), torch.arange(len(ids))

    def visit(site: Site, value: Tensor) -> Tensor:
        if site in operator.sites:
            value = operator(site, value[0], slots, positions)[None]
        values[site] = value[0]
        return value

    with ExitStack() as hooks, torch.no_grad():
        for site in operator.sites | set(sites):
            hooks.enter_context(visiting(model.loaded.anatomy, site, visit))
        logits = model.loaded.module(input_ids=torch.tensor([list(ids)])).logits[0]
    return Truth(logits.log_softmax(-1), values)


def check(model: Model, request: Request, steps: Sequence[Step]) -> None:
    """Check a greedy request with log-probabilities against the truth about the same tokens."""
    prompt = len(request.token_ids)
    assert [step.position for step in steps] == list(range(prompt, prompt + len(steps)))
    assert [bool(step.finish) for step in steps] == [False] * (len(steps) - 1) + [True]
    tokens = [step.token_id for step in steps]
    sites = [site for one in request.readouts.values() for site in one.spec.sites]
    ids = [*request.token_ids, *tokens]
    exact = truth(model, ids, prompt, request.interventions, sites)
    for number, step in enumerate(steps):
        expected = exact.logprobs[prompt - 1 + number]
        assert step.logprob is not None
        assert abs(expected[step.token_id] - step.logprob) < CLOSE
        for token, _, logprob in step.top:
            assert abs(expected[token] - logprob) < CLOSE
        assert expected.max() - expected[step.token_id] < GAP
    for name, one in request.readouts.items():
        check_readings(model, one, ids, steps, name, exact)
    text = "".join(step.text for step in steps)
    assert text == model.tokenizer.hf.decode(tokens, skip_special_tokens=True)


def check_readings(
    model: Model, one: Readout, ids: Sequence[int], steps: Sequence[Step], name: str, exact: Truth
) -> None:
    """Check that a text was read at once what it was read in pieces."""
    first = model.tokenizer.unscored(ids)
    values = {site: exact.values[site][first:] for site in one.spec.sites}
    features = one.spec.features(values, torch.zeros(len(ids) - first, dtype=torch.long))
    expected = one.calibration.probabilities(one.head(features))
    prompt = len(ids) - len(steps)
    found = []
    for number, step in enumerate(steps):
        readings = step.readings.get(name, ())
        found += readings
        # As early as may be: all that has been through the model, less what is looked ahead.
        last = len(ids) if step.finish else max(prompt + number - one.spec.look_ahead, first)
        assert len(found) == last - first
    assert [reading.position for reading in found] == list(range(first, len(ids)))
    for reading in found:
        torch.testing.assert_close(
            reading.probabilities, expected[reading.position - first], rtol=0, atol=1e-5
        )


def same(one: Sequence[Step], other: Sequence[Step]) -> None:
    """Check that two greedy runs say the same, as far as the first place where it hangs by a hair.

    Args:
        one: the run in company, with two log-probabilities or more a step.
        other: the run alone.
    """
    for mine, its in zip(one, other, strict=False):
        if mine.token_id != its.token_id:
            assert its.top[0].logprob - its.top[1].logprob < GAP
            return
        assert mine.logprob is not None
        assert its.logprob is not None
        assert abs(mine.logprob - its.logprob) < CLOSE
        assert (mine.text, mine.span, mine.finish) == (its.text, its.span, its.finish)
    assert len(one) == len(other)


def greedy(
    name: str,
    ids: Sequence[int],
    max_tokens: int,
    readouts: Mapping[str, Readout] | None = None,
    interventions: tuple[Intervention, ...] = (),
    **more: object,
) -> Request:
    """A request for the most probable tokens, up to `max_tokens` whatever they are."""
    sampling = Sampling(max_tokens, temperature=0.0, logprobs=5, ignore_eos=True)
    sampling = dataclasses.replace(sampling, **more)  # type: ignore[arg-type]
    return Request(name, tuple(ids), sampling, readouts or {}, interventions)
