"""Perplexity, repeated 4-grams and KL: by hand, and by Hugging Face's own logits."""

from collections.abc import Sequence
from math import exp, log
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endoscope.steer import Cell, Place
from endoscope.steer.cell import Writing
from endoscope.steer.coherence import read, repeats
from endoscope.steer.points import point_of
from tests.tiny import tiny_model

PLAIN = Place(split="choosing", kind="plain")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], (0, 0)),
        ([1, 2, 3], (0, 0)),
        ([1, 2, 3, 4], (0, 1)),
        ([1, 2, 3, 4, 1, 2, 3, 4], (1, 5)),
        ([7] * 10, (6, 7)),
        ([1, 2, 3, 4, 5, 1, 2, 3, 5], (0, 6)),
    ],
)
def test_repeats_by_hand(tokens: list[int], expected: tuple[int, int]) -> None:
    assert repeats(tokens) == expected


@given(st.lists(st.integers(0, 2), max_size=30))
def test_repeats_are_those_that_stood_before(tokens: list[int]) -> None:
    runs = [tokens[i : i + 4] for i in range(max(0, len(tokens) - 3))]
    assert repeats(tokens) == (sum(run in runs[:i] for i, run in enumerate(runs)), len(runs))


def test_surprisal_is_that_of_hugging_face() -> None:
    model = tiny_model("llama")
    prompts, texts = ["Where is", "x", "日本"], [" it, then?", "abab" * 5, "は"]
    found = read(model, prompts, [*texts[:2], ""])
    module: Any = model.loaded.module
    for one, prompt, text in zip(found[:2], prompts, texts, strict=False):
        before = model.tokenizer.encode(prompt).ids
        ids = [*before, *model.tokenizer.encode(text, special=False).ids]
        logits = module(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        by_hand = -sum(
            float(logits[i - 1, token]) for i, token in enumerate(ids) if i >= len(before)
        )
        assert one.surprisal == pytest.approx(by_hand, rel=1e-4)
        assert one.tokens == len(ids) - len(before)
    assert found[2] == Writing(text="", tokens=0, surprisal=0.0, fourgrams=0, repeated=0)


def writing(tokens: int, surprisal: float, repeated: int = 0, fourgrams: int = 10) -> Writing:
    return Writing(
        text="", tokens=tokens, surprisal=surprisal, fourgrams=fourgrams, repeated=repeated
    )


def cell(scores: Sequence[float], writings: Sequence[Writing], **more: Any) -> Cell:
    return Cell(**{"place": PLAIN, "scores": tuple(scores), "writings": tuple(writings), **more})


def test_figures_by_hand() -> None:
    """Perplexity 2 and 4 of the plain and the steered texts, all tokens together."""
    plain = cell([0, 0, 1], [writing(10, 10 * log(2), 1), writing(20, 20 * log(2), 1)])
    steered = cell(
        [1, 1, 1], [writing(30, 30 * log(4), 4), writing(10, 10 * log(4))], kl=(0.2, 0.4)
    )
    found = point_of(steered, plain, seed=0)
    assert found.score.value == 1
    assert found.rise.value == pytest.approx(2 / 3)
    assert found.perplexity == pytest.approx(4)
    assert found.perplexity_ratio.value == pytest.approx(2)
    assert found.perplexity_ratio.low == pytest.approx(2)
    assert found.repeats == pytest.approx(4 / 20)
    assert found.repeats_ratio.value == pytest.approx(2)
    assert found.kl is not None
    assert found.kl.value == pytest.approx(0.3)
    assert found.tokens == 20


def test_long_texts_weigh_more() -> None:
    plain = cell([0, 0], [writing(1, 0.0), writing(1, 0.0)])
    found = point_of(cell([0, 0], [writing(9, 9.0), writing(1, 5.0)]), plain, seed=0)
    assert found.perplexity == pytest.approx(exp(14 / 10))


def test_a_plain_text_without_repeats_counts_as_one_with_one() -> None:
    plain = cell([0, 0], [writing(20, 1.0, 0), writing(20, 1.0, 0)])
    found = point_of(cell([0, 0], [writing(20, 1.0, 3), writing(20, 1.0, 0)]), plain, seed=0)
    assert found.repeats_ratio.value == pytest.approx(3)


def test_nothing_written_is_no_division_by_zero() -> None:
    empty = cell([0.0], [writing(0, 0.0, fourgrams=0)])
    found = point_of(empty, empty, seed=0)
    assert found.perplexity == 1
    assert found.tokens == 0


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_the_rise_is_paired(pairs: list[tuple[float, float]]) -> None:
    """What every item gains has no width, however far the items lie apart."""
    before = [a for a, _ in pairs]
    texts = [writing(10, 5.0) for _ in pairs]
    found = point_of(cell([a + 0.25 for a in before], texts), cell(before, texts), seed=0)
    assert found.rise.value == pytest.approx(0.25)
    assert found.rise.high - found.rise.low == pytest.approx(0, abs=1e-9)
