"""What texts begin with, run once: against every text by itself."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny import CONFIGS, save_tiny

import endoscope
from endoscope.engine.batching import Row
from endoscope.engine.beginning import WORTH, by_prompt, common_beginning, without

PROMPT = "You are a helpful assistant, and this is said to all. "
ASKED = ("", "Why?", "Tell me more of it, please.", "Why?", "x", "", "", "Why?")
PROMPTS = [f"{PROMPT}{one}" for one in ASKED]
LONG = "that is a much longer answer than the others are"
ANSWERS = ["because", "it is so", "a", "no", LONG, LONG, "y", "because"]


@pytest.mark.parametrize("architecture", sorted(set(CONFIGS) - {"bert"}))
def test_it_changes_nothing(architecture: str, tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "tiny", architecture), dtype="float32")
    together = model.token_log_likelihoods(PROMPTS, ANSWERS, batch_tokens=64)
    for prompt, answer, found in zip(PROMPTS, ANSWERS, together, strict=True):
        (alone,) = model.token_log_likelihoods([prompt], [answer])
        torch.testing.assert_close(found, alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("prompts", "answers", "more"),
    [
        ([PROMPT] * 20, ["x"] * 20, 20 * 2),  # its last token predicts the first of each answer
        ([f"{PROMPT}{n // 4}bcdefgh" for n in range(20)], ["x"] * 20, 5 * 7 + 20 * 2),
        ([f"{PROMPT}{chr(97 + n)}bcdefgh" for n in range(20)], ["x"] * 20, 20 * 9),
    ],
)
def test_it_happens(prompts: list[str], answers: list[str], more: int, tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "tiny"), dtype="float32")
    count = 0

    def add(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal count
        count += inputs[0].numel()

    embedding = model.loaded.module.get_input_embeddings()
    with torch.no_grad():
        handle = embedding.register_forward_pre_hook(add)
        model.token_log_likelihoods(prompts, answers)
        handle.remove()
    rows = [Row(model.tokenizer.encode(prompt).ids, len(prompt)) for prompt in prompts]
    length = common_beginning([Row([*row.ids, 0], len(row.ids)) for row in rows])
    assert length > WORTH
    assert count == length + more


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=6), st.integers(1, 3)), max_size=5))
def test_what_is_kept_stays(texts: list[tuple[list[int], int]]) -> None:
    rows = [Row([7, *before, 9, 9, 9], start=len(before) + kept) for before, kept in texts]
    tokens = common_beginning(rows)
    assert len(rows) > 1 or tokens == 0
    for row in rows:
        assert row.ids[:tokens] == rows[0].ids[:tokens]
        rest = without(row, tokens)
        assert rest.kept == row.kept
        assert list(rest.ids[rest.start :]) == list(row.ids[row.start :])
        assert not tokens or rest.start >= 1, "something is left to predict the first kept token"


def test_a_batch_is_no_larger_than_it_may_be(tmp_path: Path) -> None:
    """Tokens that were run before take room as well: those of each row count."""
    model = endoscope.open(save_tiny(tmp_path / "tiny"), dtype="float32")
    sizes = []

    def size(_: object, inputs: object, options: dict[str, object]) -> None:
        mask = options.get("attention_mask")
        if isinstance(mask, torch.Tensor):
            sizes.append(mask.numel())

    handle = model.loaded.anatomy.base.register_forward_pre_hook(size, with_kwargs=True)
    prompts = [f"{PROMPT}{n // 50} abcdefgh" for n in range(200)]
    found = model.token_log_likelihoods(prompts, ["xy"] * 200, batch_tokens=1000)
    handle.remove()
    assert len(found) == 200
    assert max(sizes) <= 1000
    assert len(sizes) > 10


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=9), st.integers(1, 4))
def test_every_row_is_in_one_group(texts: list[tuple[int, int]], most: int) -> None:
    rows = [Row([7] * before + [8] + [9] * kept, start=before + 1) for before, kept in texts]
    groups = by_prompt(rows, most)
    assert sorted(number for group in groups for number in group.numbers) == list(range(len(rows)))
    for group in groups:
        assert 1 <= len(group.numbers) <= most
        for number in group.numbers:
            assert list(rows[number].ids[: len(group.prompt)]) == list(group.prompt)
            assert without(rows[number], len(group.prompt)).start >= 1
