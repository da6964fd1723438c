"""Words: tokens of one word share their scores."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope.guard.words import share_words
from endoscope.readouts import TokenScores

LABELS = ("O", "NAME")


def scores(offsets: list[tuple[int, int]], names: list[float]) -> TokenScores:
    probabilities = torch.tensor([[1 - p, p] for p in names]).reshape(-1, 2)
    return TokenScores(torch.tensor(offsets).reshape(-1, 2), probabilities, LABELS)


def shared(text: str, offsets: list[tuple[int, int]], names: list[float]) -> list[float]:
    return share_words(text, scores(offsets, names)).probabilities[:, 1].tolist()


def test_the_tokens_of_a_word_share_the_geometric_mean() -> None:
    # " Okonkwo" as three tokens; sqrt-like mean of the odds: hand-computed.
    found = shared("to Okonkwo", [(0, 2), (2, 5), (5, 8), (8, 10)], [0.1, 0.9, 0.2, 0.5])
    name = (0.9 * 0.2 * 0.5) ** (1 / 3)
    nothing = (0.1 * 0.8 * 0.5) ** (1 / 3)
    assert found[0] == pytest.approx(0.1)
    assert found[1:] == pytest.approx([name / (name + nothing)] * 3)


def test_a_foreign_name_in_katakana_is_one_word_and_kanji_are_not() -> None:
    one = shared("ジョン・スミス", [(0, 3), (3, 4), (4, 7)], [0.9, 0.1, 0.5])
    assert one[0] == pytest.approx(one[1]) == pytest.approx(one[2])
    assert shared("山田部長", [(0, 2), (2, 4)], [0.9, 0.1]) == pytest.approx([0.9, 0.1])


def test_a_token_that_reaches_beyond_its_word_keeps_its_score() -> None:
    assert shared("ab c", [(0, 1), (1, 4)], [0.9, 0.1]) == pytest.approx([0.9, 0.1])


@given(st.text(alphabet="aB é1-.ア・ー山の\n", max_size=30), st.randoms())
def test_scores_stay_probabilities_between_those_of_the_word(text: str, random: object) -> None:
    cuts = sorted({0, len(text), *(random.randrange(len(text) + 1) for _ in range(8))})  # type: ignore[attr-defined]
    offsets = list(pairwise(cuts))
    names = [random.random() for _ in offsets]  # type: ignore[attr-defined]
    before = scores(offsets, names)
    after = share_words(text, before)
    assert torch.equal(after.offsets, before.offsets)
    torch.testing.assert_close(after.probabilities.sum(1), torch.ones(len(offsets)))
    if offsets:
        assert after.probabilities[:, 1].min() >= min(names) - 1e-4
        assert after.probabilities[:, 1].max() <= max(names) + 1e-4
