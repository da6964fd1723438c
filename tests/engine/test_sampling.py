"""The next token: by each request's own rules and random numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope.engine.requests import Sampling
from endoscope.engine.sampling import Chooser, choose

pytestmark = pytest.mark.usefixtures("one_thread")

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0, 3.0 - 1e-3, -20.0])


def counts(sampling: Sampling, draws: int = 4000) -> torch.Tensor:
    """How often each token comes, out of one."""
    chooser, rows = Chooser(sampling), 40  # of one step, drawn one after the other
    steps = [choose(LOGITS.expand(rows, -1), [chooser] * rows) for _ in range(draws // rows)]
    tokens = [choice.token_id for step in steps for choice in step]
    return torch.bincount(torch.tensor(tokens), minlength=len(LOGITS)) / draws


def test_greedy_takes_the_most_probable() -> None:
    choosers = [Chooser(Sampling(temperature=0.0)) for _ in range(3)]
    logits = torch.stack([LOGITS, -LOGITS, LOGITS.roll(2)])
    assert [one.token_id for one in choose(logits, choosers)] == [4, 6, 6]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_draws_are_as_probable_as_the_model_says(temperature: float) -> None:
    expected = torch.softmax(LOGITS / temperature, 0)
    found = counts(Sampling(temperature=temperature, seed=1))
    assert (found - expected).abs().max() < 0.03  # 4 standard deviations of 4,000 draws


@pytest.mark.parametrize("temperature", [5e-324, 1e-45, 1e-38, 1e-30, 1e-6])
@pytest.mark.parametrize("top_p", [1.0, 0.5])
def test_hardly_any_temperature_is_greedy(temperature: float, top_p: float) -> None:
    logits = torch.stack([1e4 * LOGITS, LOGITS, LOGITS - 1e4])
    choosers = [Chooser(Sampling(temperature=temperature, top_p=top_p, seed=i)) for i in range(3)]
    assert [one.token_id for one in choose(logits, choosers)] == [4, 4, 4]


def test_more_than_all_tokens_is_all_of_them() -> None:
    drawn = [choose(LOGITS[None], [Chooser(Sampling(top_k=k, seed=1))])[0] for k in (7, 2**70)]
    assert drawn[0] == drawn[1]


def test_top_k_and_top_p_cut_off_the_tail() -> None:
    by_rank = torch.softmax(LOGITS, 0).sort(descending=True).values
    two = counts(Sampling(top_k=2, seed=2))
    assert set(two.nonzero().flatten().tolist()) == {4, 5}
    share = float(by_rank[:2].sum()) + 1e-3  # two are not enough, three are
    three = counts(Sampling(top_p=share, seed=3))
    assert set(three.nonzero().flatten().tolist()) == {4, 5, 0}
    expected = torch.softmax(LOGITS[[4, 5, 0]], 0)
    assert (three[[4, 5, 0]] - expected).abs().max() < 0.03
    # Of the top_k, renormalised, the top_p: temperature first.
    both = counts(Sampling(temperature=0.5, top_k=3, top_p=1e-9, seed=4))
    assert both[4] == 1


@given(st.integers(0, 2**63), st.integers(0, 4), st.sampled_from([1.0, 0.9]))
def test_a_seed_says_what_is_drawn_whoever_is_there(seed: int, others: int, top_p: float) -> None:
    def run(company: int) -> list[int]:
        mine = Chooser(Sampling(seed=seed, top_p=top_p))
        rest = [
            Chooser(Sampling(temperature=i / 2, top_p=1 - i / 10, seed=i)) for i in range(company)
        ]
        logits = torch.stack([LOGITS] * (company + 1))
        return [choose(logits, [*rest, mine])[-1].token_id for _ in range(5)]

    assert run(others) == run(0)


def test_two_without_a_seed_differ() -> None:
    flat = torch.zeros(1, 1000)
    one, other = (Chooser(Sampling()) for _ in range(2))
    draws = [[choose(flat, [each])[0].token_id for _ in range(4)] for each in (one, other)]
    assert draws[0] != draws[1]


def test_log_probabilities_are_before_temperature() -> None:
    choosers = [
        Chooser(Sampling(temperature=0.3, seed=1, logprobs=2)),
        Chooser(Sampling(temperature=0.0)),
        Chooser(Sampling(temperature=0.0, logprobs=0)),
    ]
    chosen = choose(torch.stack([LOGITS] * 3), choosers)
    expected = LOGITS.log_softmax(0)
    assert chosen[0].logprob == pytest.approx(float(expected[chosen[0].token_id]))
    assert [token for token, _ in chosen[0].top] == [4, 5]
    assert [value for _, value in chosen[0].top] == pytest.approx(expected[[4, 5]].tolist())
    assert chosen[1].logprob is None
    assert chosen[1].top == ()
    assert chosen[2].logprob == pytest.approx(float(expected[4]))
    assert chosen[2].top == ()


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_no_number_is_told_and_spares_the_others(broken: float) -> None:
    logits = torch.stack([LOGITS, LOGITS])
    logits[0, 3] = broken
    choosers = [Chooser(Sampling(seed=1, logprobs=1)), Chooser(Sampling(seed=1, logprobs=1))]
    bad, good = choose(logits, choosers)
    assert not bad.finite
    assert good.finite
    assert good.token_id == choose(LOGITS[None], [Chooser(Sampling(seed=1))])[0].token_id
