"""Requests that run together come to what each comes to alone."""

import dataclasses
import random

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.streams import LABELS, alone, check, greedy, opened, readout, run, same, truth
from tests.tiny import CONFIGS

from endoscope.engine import Model
from endoscope.engine.requests import Limits, Request, Sampling
from endoscope.engine.transformers import TransformersEngine
from endoscope.errors import InputError
from endoscope.interventions import Gate, Intervention, ablate, add, clamp
from endoscope.models import Site
from endoscope.readouts import FeatureSpec, LogisticHead, Readout

pytestmark = pytest.mark.usefixtures("one_thread")

BOS = 256
SMALL = Limits(requests=3, prompt_tokens=8, cache_tokens=4096)


MODELS: dict[str, tuple[str, dict[str, object]]] = {n: (n, {}) for n in CONFIGS if n != "bert"}
MODELS["mistral-windowed"] = ("mistral", {"sliding_window": 8})
MODELS["mixtral-windowed"] = ("mixtral", {"sliding_window": 8})


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    name, options = MODELS[request.param]
    return opened(name, **options)


@pytest.fixture(scope="module")
def llama() -> Model:
    return opened("llama")


def vector(seed: int) -> torch.Tensor:
    return torch.randn(32, generator=torch.Generator().manual_seed(seed))


def changes(seed: int, parallel: bool = False) -> list[tuple[Intervention, ...]]:
    """Different interventions: none, one, several, gated, at several sites and positions."""
    mid = "attn_out.1" if parallel else "resid_mid.1"
    gate = Gate(readout=readout("resid_post.0", seed=seed), label="x", threshold=0.4, hold=2)
    a, b = vector(seed), vector(seed + 1)
    return [
        (),
        (add(a, 2.0, site="resid_post.1", units="absolute"),),
        (ablate(b, site="mlp_out.1", positions="generated"),),
        (
            add(a, 3.0, site=mid, units="absolute", positions="prompt"),
            clamp(b, 1.0, site="resid_pre.2", units="absolute"),
        ),
        (add(b, 4.0, site="resid_post.1", units="absolute", gate=gate),),
    ]


def mix(seed: int, parallel: bool = False) -> list[tuple[int, Request]]:
    """A random mix of requests and the steps at which they come."""
    rng = random.Random(seed)
    requests = []
    for number, interventions in enumerate([*changes(seed, parallel), (), ()]):
        ids = [BOS, *(rng.randrange(256) for _ in range(rng.choice([0, 3, 5, 7, 21])))]
        readouts = {}
        if rng.random() < 0.7:
            readouts["near"] = SHARED
        if rng.random() < 0.5:
            readouts["ahead"] = readout("resid_post.2", "attn_out.1", look_ahead=2, seed=number)
        request = greedy(str(number), ids, rng.randrange(1, 12), readouts, interventions)
        requests.append((rng.randrange(0, 12), request))
    return requests


SHARED = readout("resid_post.1", seed=7)


def test_a_mix_comes_to_what_the_model_itself_says(model: Model) -> None:
    requests = mix(len(model.name), parallel=model.loaded.anatomy.stream == "parallel")
    core = model.engine.core(SMALL)
    steps = run(core, requests)
    for _, request in requests:
        check(model, request, steps[request.id])
        same(steps[request.id], alone(model, request))


def test_greedy_ids_are_those_of_generate(model: Model) -> None:
    rng = random.Random(3)
    prompts = [[BOS, *(rng.randrange(256) for _ in range(n))] for n in (30, 2, 11, 0)]
    steps = run(
        model.engine.core(SMALL), [(0, greedy(str(i), ids, 12)) for i, ids in enumerate(prompts)]
    )
    for number, ids in enumerate(prompts):
        prompt = torch.tensor([ids])
        expected = model.loaded.module.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=transformers.GenerationConfig(
                max_new_tokens=12, do_sample=False, pad_token_id=0
            ),
        )[0, len(ids) :].tolist()
        found = [step.token_id for step in steps[str(number)]]
        for mine, its, step in zip(found, expected, steps[str(number)], strict=True):
            if mine != its:
                assert step.top[0].logprob - step.top[1].logprob < 1e-2
                break


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_schedule_comes_to_what_each_comes_to_alone(data: st.DataObject) -> None:
    model = opened(data.draw(st.sampled_from(["llama", "gemma3", "gpt2"])))
    programs = changes(data.draw(st.integers(0, 3)))
    requests, cancelled = [], {}
    for number in range(data.draw(st.integers(1, 6))):
        ids = [BOS, *data.draw(st.lists(st.integers(0, 255), max_size=20))]
        ahead = data.draw(st.integers(0, 3))
        readouts = {"near": SHARED, "ahead": readout("mlp_out.1", look_ahead=ahead, seed=number)}
        request = greedy(
            str(number),
            ids,
            data.draw(st.integers(1, 10)),
            readouts if data.draw(st.booleans()) else {},
            data.draw(st.sampled_from(programs)),
        )
        requests.append((data.draw(st.integers(0, 15)), request))
        if data.draw(st.booleans()):
            cancelled[request.id] = data.draw(st.integers(0, 25))
    limits = Limits(
        requests=data.draw(st.integers(1, 4)),
        prompt_tokens=data.draw(st.integers(1, 30)),
        cache_tokens=data.draw(st.integers(20, 200)),
    )
    core = model.engine.core(limits)
    steps = run(core, requests, cancelled)
    for _, request in requests:
        mine = steps[request.id]
        if mine[-1].finish != "cancelled":
            check(model, request, mine)
            continue
        assert mine[-1].token_id == -1
        same(mine[:-1], alone(model, request)[: len(mine) - 1])
    assert core.cache_bytes == 0  # given back


@pytest.mark.parametrize("others", [0, 1, 3])
def test_a_request_that_breaks_the_model_harms_no_other(llama: Model, others: int) -> None:
    strong = TransformersEngine(llama.loaded, lambda _: 1e37)  # what is allowed goes by the norm
    much = add(torch.eye(32)[3], 3e38, site="resid_post.0", units="absolute")
    bad = greedy("bad", [BOS, 1, 2], 8, {"a": SHARED}, (much, much))  # infinity, then NaN
    late = greedy("late", [BOS, *range(20)], 8)
    good = [greedy(str(i), [BOS, i, i + 1], 12, {"a": SHARED}) for i in range(others)]
    requests = [(0, one) for one in [*good[:1], bad, *good[1:]]]
    steps = run(strong.core(SMALL), [*requests, (1, late)])
    assert [step.finish for step in steps["bad"]] == ["error"]
    assert steps["bad"][0].error is not None
    for one in [*good, late]:  # the last in the row that the broken one left
        check(llama, one, steps[one.id])


def test_what_the_padding_of_a_broken_request_leaves_harms_no_later_one() -> None:
    """Padding attends to the text before it, so its keys are NaN where the text's are."""
    model = opened("llama", tie_word_embeddings=False)
    with torch.no_grad():
        model.loaded.anatomy.base.embed_tokens.weight[7] = float("nan")
    core = model.engine.core()
    long = greedy("long", (BOS, *range(20, 27)), 20)
    broken = greedy("broken", (BOS, 1, 2, 3, 4, 7), 4)
    after = greedy("after", (BOS, 33), 10)
    found = run(core, [(0, long), (0, broken), (3, after)])
    assert found["broken"][-1].finish == "error"
    same(found["after"], alone(model, after))
    same(found["long"], alone(model, long))


def test_a_readout_that_gives_no_number_ends_its_request_alone(llama: Model) -> None:
    broken = readout("resid_post.1")
    broken.head.weight[1, 3] = float("nan")  # type: ignore[attr-defined]
    requests = [
        (0, greedy("bad", [BOS, 5], 5, {"a": SHARED, "b": broken})),
        (0, greedy("good", [BOS, 5], 5, {"a": SHARED})),
    ]
    steps = run(llama.engine.core(SMALL), requests)
    assert [(one.finish, one.error) for one in steps["bad"]] == [
        ("error", "A readout gave no number.")
    ]
    check(llama, requests[1][1], steps["good"])


def failing() -> LogisticHead:
    head = LogisticHead(torch.ones(3, 32), torch.zeros(3), LABELS)
    head.bias = torch.zeros(7)  # a sum of both cannot be had
    return head


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (failing(), "failed (RuntimeError)."),
        (LogisticHead(torch.full((3, 32), torch.nan), torch.zeros(3), LABELS), "gave no number."),
    ],
    ids=["raises", "nan"],
)
@pytest.mark.parametrize("site", ["resid_post.0", "resid_post.2"], ids=["at once", "deferred"])
def test_a_gate_that_cannot_decide_ends_its_request_alone(
    llama: Model, head: LogisticHead, says: str, site: str
) -> None:
    """A closed gate would be an answer; whoever relies on it must not get the unchanged text."""
    gate = Gate(readout=Readout(FeatureSpec((Site.parse(site),)), head), label="x")
    gated = add(torch.ones(32), 1, site="resid_post.1", gate=gate)
    bad = Request("bad", (BOS, 5), Sampling(5, temperature=0.0), interventions=(gated,))
    good = greedy("good", [BOS, 5], 5)
    steps = run(
        llama.engine.core(SMALL), [(0, bad), (0, good), (1, dataclasses.replace(bad, id="later"))]
    )
    for name in ("bad", "later"):
        ended = [(one.finish, one.error) for one in steps[name]]
        assert ended == [("error", f"A gate's probe {says}")]
    check(llama, good, steps["good"])


def test_a_gate_that_cannot_decide_is_an_error_where_a_text_is_read_in_one_pass(
    llama: Model,
) -> None:
    head = LogisticHead(torch.full((3, 32), torch.nan), torch.zeros(3), LABELS)
    gate = Gate(readout=Readout(FeatureSpec((Site.parse("resid_post.0"),)), head), label="x")
    with (
        llama.intervene(add(torch.ones(32), 1, site="resid_post.1", gate=gate)),
        pytest.raises(InputError, match="gave no number"),
    ):
        llama.log_likelihood(["Hello"], [" you"])


def test_memory_is_given_back_when_the_last_one_gives_up_waiting(llama: Model) -> None:
    core = llama.engine.core(Limits(requests=1))
    for name in ("runs", "waits"):
        core.add(greedy(name, [BOS], 5))
    core.step()
    assert core.cache_bytes > 0
    for name in ("runs", "waits"):
        core.cancel(name)
    assert [step.finish for _, step in core.step()] == ["cancelled", "cancelled"]
    assert core.cache_bytes == 0


def test_those_of_about_one_length_are_read_together_the_first_in_any_case(llama: Model) -> None:
    core = llama.engine.core()
    lengths = {"a": 20, "b": 2, "c": 19, "d": 3, "e": 40}
    for name, length in lengths.items():
        core.add(greedy(name, [BOS] * length, 2))
    said = [[name for name, _ in core.step()] for _ in range(4)]
    assert said[:3] == [["a", "c"], ["b", "d"], ["e"]]
    assert sorted(said[3]) == sorted(lengths)


def test_a_long_prompt_lets_the_others_speak_in_between(llama: Model) -> None:
    core = llama.engine.core(Limits(prompt_tokens=16))
    core.add(greedy("talks", [BOS], 40))
    assert [name for name, _ in core.step()] == ["talks"]
    core.add(greedy("long", [BOS] * 100, 1))
    said = [[name for name, _ in core.step()] for _ in range(14)]
    assert said == [["talks"], []] * 6 + [["talks"], ["long"]]


def test_who_comes_first_is_served_first(llama: Model) -> None:
    core = llama.engine.core(Limits(requests=2))
    for name in "abcd":
        core.add(greedy(name, [BOS, 7], 3))
    order = []
    while not core.idle:
        order += [name for name, step in core.step() if step.finish]
    assert order == ["a", "b", "c", "d"]


def test_one_longer_than_the_cache_is_made_for_runs_alone(llama: Model) -> None:
    core = llama.engine.core(Limits(cache_tokens=64))
    long, short = greedy("long", [BOS] * 60, 20), greedy("short", [BOS], 20)
    steps = run(core, [(0, short), (0, long), (0, greedy("third", [BOS], 5))])
    assert {name: len(one) for name, one in steps.items()} == {"short": 20, "long": 20, "third": 5}


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request("a", ()), "no tokens"),
        (Request("a", (260,)), "does not know"),
        (Request("a", (-1,)), "does not know"),
        (Request("a", (BOS,) * 500, Sampling(max_tokens=13)), "513|more than the 512"),
        (Request("a", (BOS,), readouts={"p": readout("resid_post.3")}), "0 to 2"),
        (Request("a", (BOS,), readouts={"p": readout("resid_post.1", d_model=16)}), "'p' takes 16"),
        (Request("a", (BOS,), interventions=(add(torch.ones(8), 1, site="resid_post.1"),)), "32"),
        (
            Request("a", (BOS,), interventions=(add(torch.ones(32), 1, site="attn_out.9"),)),
            "0 to 2",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_it_does(
    llama: Model, request_: Request, says: str
) -> None:
    core = llama.engine.core()
    with pytest.raises(InputError, match=says):
        core.add(request_)
    assert core.idle


def test_a_name_in_use_is_refused(llama: Model) -> None:
    core = llama.engine.core()
    core.add(greedy("a", [BOS], 2))
    with pytest.raises(InputError, match="of this id"):
        core.add(greedy("a", [BOS], 2))
    while not core.idle:
        core.step()
    core.cancel("a")  # too late, and not meant for the next one of this name
    core.add(greedy("a", [BOS], 2))
    assert [step.finish for _, step in core.step()] == [None]


def test_an_encoder_does_not_generate() -> None:
    with pytest.raises(InputError, match="does not generate"):
        opened("bert").engine.core()


def test_the_end_of_text_token_ends_it_and_is_not_read() -> None:
    model = opened("llama", seed=5)
    plain = greedy("a", [BOS, 70, 71], 12)
    tokens = [step.token_id for step in alone(model, plain)]
    at = next(i for i, token in enumerate(tokens) if token not in tokens[:i] and i >= 3)
    model.loaded.module.generation_config.eos_token_id = [tokens[at], 300]
    model.engine = type(model.engine)(model.loaded, lambda _: 10.0)
    one = readout("resid_post.1", look_ahead=1)
    request = greedy("a", [BOS, 70, 71], 12, {"p": one}, ignore_eos=False)
    steps = alone(model, request)
    assert [step.token_id for step in steps] == tokens[: at + 1]
    assert steps[-1].finish == "stop"
    text = "".join(step.text for step in steps)
    assert text == model.tokenizer.hf.decode(tokens[:at])
    assert steps[-1].span == (len(text), len(text))
    # The scores are those of the text without the token that ended it.
    read = [reading for step in steps for reading in step.readings.get("p", ())]
    assert [reading.position for reading in read] == list(range(1, 3 + at))
    exact = truth(model, [BOS, 70, 71, *tokens[:at]], 3, (), one.spec.sites)
    values = {site: exact.values[site][1:] for site in one.spec.sites}
    features = one.spec.features(values, torch.zeros(len(read), dtype=torch.long))
    expected = one.calibration.probabilities(one.head(features))
    found = torch.stack([reading.probabilities for reading in read])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_stop_text_ends_it_and_is_not_part_of_it(llama: Model) -> None:
    plain = alone(llama, greedy("a", [BOS, 72], 20))
    whole = "".join(step.text for step in plain)
    stop = whole[7:10]
    start = whole.index(stop)
    request = greedy("a", [BOS, 72], 20, {"p": SHARED}, stop=(stop, "never there"))
    steps = alone(llama, request)
    assert "".join(step.text for step in steps) == whole[:start]
    assert steps[-1].finish == "stop"
    assert [step.token_id for step in steps] == [step.token_id for step in plain[: len(steps)]]
    last = [reading.position for step in steps for reading in step.readings["p"]][-1]
    assert last == steps[-1].position  # the last token has been read too


def test_a_seed_gives_the_same_text_in_any_company(llama: Model) -> None:
    sampling = Sampling(max_tokens=12, temperature=1.3, top_p=0.95, seed=11, ignore_eos=True)
    request = Request("mine", (BOS, 1, 2), sampling)
    others = [
        Request(str(i), (BOS, i), dataclasses.replace(sampling, seed=i, top_p=1.0))
        for i in range(3)
    ]
    steps = run(llama.engine.core(SMALL), [(0, request), *((i, o) for i, o in enumerate(others))])
    assert steps["mine"] == alone(llama, request)
    assert steps["0"] != steps["1"]
