"""The cache of prefixes, and whatever else runs a text in pieces or twice.

Each protection has a test that fails without it: the same test is run with it taken away.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError

from endoscope.engine.requests import Request, Sampling, Step
from endoscope.engine.vllm.orders import Order
from endoscope.engine.vllm.seams import frontend
from endoscope.interventions import Gate, Intervention, add
from tests.engine.streams import check, greedy, readout, run
from tests.vllm.conftest import BLOCK, Pair

LONG = (256, *((7 * i) % 250 for i in range(3 * BLOCK + 5)))  # three whole blocks and some
READ = readout("resid_post.1", look_ahead=1, seed=7)


def push(seed: int, **more: object) -> Intervention:
    vector = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    return add(vector, 3.0, site="resid_post.0", units="absolute", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pair(pairs: Callable[..., Pair]) -> Pair:
    return pairs("llama")


@pytest.fixture(autouse=True)
def empty(pair: Pair) -> None:
    pair.vllm.engine._vllm.reset_prefix_cache()


def one_by_one(pair: Pair, requests: Sequence[Request]) -> list[list[Step]]:
    core = pair.vllm.engine._core
    return [run(core, [(0, request)])[request.id] for request in requests]


def all_right(pair: Pair, requests: Sequence[Request]) -> None:
    for request, steps in zip(requests, one_by_one(pair, requests), strict=True):
        check(pair.transformers, request, steps)


def cached(pair: Pair, order: Order) -> int:
    """How many tokens of the long prompt come from the cache."""
    engine = pair.vllm.engine._vllm
    extra = {"endoscope": order.text} if order.asks else None
    params = SamplingParams(max_tokens=1, detokenize=False, extra_args=extra)
    frontend.expect("r")
    engine.add_request("r", {"prompt_token_ids": list(LONG)}, params)
    frontend.forget("r")
    while engine.has_unfinished_requests():
        for output in engine.step():
            found = output.num_cached_tokens
    return int(found)


def mixed() -> list[Request]:
    """The same prompt plain, changed in three ways, and plain again."""
    changes = [(), (push(1),), (), (push(2),), (push(1, positions="generated"),), ()]
    return [greedy(str(n), LONG, 6, {}, change) for n, change in enumerate(changes)]


def test_plain_and_changed_requests_do_not_share_a_prefix(pair: Pair) -> None:
    all_right(pair, mixed())


def test_without_a_salt_they_would(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Order, "salt", lambda self, salt, ids: salt)
    with pytest.raises(AssertionError):
        all_right(pair, mixed())


def test_a_second_request_like_the_first_hits_the_cache(pair: Pair) -> None:
    for order in (Order(), Order((push(1),)), Order((push(2),))):
        assert cached(pair, order) == 0
        assert cached(pair, order) == 3 * BLOCK


def test_the_salt_of_a_client_still_counts() -> None:
    plain, one, other = Order(), Order((push(1),)), Order((push(2),))
    salts = [order.salt(salt, LONG) for order in (plain, one, other) for salt in (None, "a", "b")]
    assert salts[:3] == [None, "a", "b"]
    assert len(set(salts)) == len(salts)


@pytest.mark.parametrize("positions", ["generated", "prompt"])
def test_what_was_generated_may_be_the_prompt_of_the_next(pair: Pair, positions: str) -> None:
    """The second turn of a conversation: where the change begins is another place."""
    change = (push(1, positions=positions),)
    first = greedy("1", LONG[: BLOCK + 3], 2 * BLOCK, {}, change)
    (steps,) = one_by_one(pair, [first])
    check(pair.transformers, first, steps)
    again = (*first.token_ids, *(step.token_id for step in steps), 7, 8)
    all_right(pair, [greedy("2", again, 4, {}, change)])


def test_without_its_end_in_the_salt_it_would_be_wrong(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Order, "prompt_length", lambda self, ids: 0)
    with pytest.raises(AssertionError):
        test_what_was_generated_may_be_the_prompt_of_the_next(pair, "generated")


def probed() -> list[Request]:
    return [greedy(str(number), LONG, 5, {"p": READ}) for number in range(2)]


def test_a_probe_scores_every_token_of_a_cached_prompt(pair: Pair) -> None:
    all_right(pair, [greedy("before", LONG, 3), *probed()])


def test_it_could_not_if_it_read_from_the_cache(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it does not say that it had."""
    monkeypatch.setattr(Order, "reads_all", False)
    _, *read = one_by_one(pair, [greedy("before", LONG, 3), *probed()])
    for steps in read:
        assert [step.error for step in steps] == ["The model did not run all of its tokens."]
        assert not steps[0].readings


def test_a_gate_sees_all_of_a_cached_prompt(pair: Pair) -> None:
    """It fires early in the prompt, and is latched."""
    gate = Gate(readout=readout("resid_post.0"), label="x", threshold=0.5, hold="latch")
    gated = push(3, gate=gate, positions="generated")
    all_right(pair, [greedy(str(n), LONG, 5, {}, (gated,)) for n in range(2)])


def test_activations_of_a_cached_prompt_are_read_whole(pair: Pair) -> None:
    text = "The sea is calm today, " * 6
    for _ in range(2):
        mine = pair.vllm.capture([text], "resid_post.2")
        its = pair.transformers.capture([text], "resid_post.2")
        assert (mine["resid_post.2"] - its["resid_post.2"]).abs().max() < 1e-4


def test_who_goes_leaves_the_others_alone(pair: Pair) -> None:
    sampling = Sampling(30, temperature=0.0, ignore_eos=True, logprobs=3)
    requests = [
        Request(str(n), LONG[: 20 + n], sampling, {"p": READ} if n % 2 else {}, (push(n),))
        for n in range(6)
    ]
    core = pair.vllm.engine._core
    steps = run(core, [(n, one) for n, one in enumerate(requests)], {"1": 6, "2": 9, "4": 5})
    for request in requests:
        mine = steps[request.id]
        if mine[-1].finish == "cancelled":
            assert len(mine) < 31
        else:
            check(pair.transformers, request, mine)
    assert {name for name in steps if steps[name][-1].finish == "cancelled"} == {"1", "2", "4"}
    assert core.idle


def test_what_is_no_order_is_refused_and_the_others_go_on(pair: Pair) -> None:
    engine = pair.vllm.engine._vllm
    frontend.expect("heard")
    for name, order in (("heard", "{}"), ("unheard", Order((push(1),)).text)):
        params = SamplingParams(max_tokens=2, detokenize=False, extra_args={"endoscope": order})
        with pytest.raises(VLLMValidationError, match="no order"):
            engine.add_request(name, {"prompt_token_ids": [1, 2]}, params)
    frontend.forget("heard")
    all_right(pair, [greedy("good", LONG, 5)])
