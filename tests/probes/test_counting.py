import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from endoscope.probes import LabelledSpan
from endoscope.probes.counting import (
    count_characters,
    count_tokens,
    f1,
    likeliest_spans,
    precision,
    recall,
)
from endoscope.readouts import TokenScores

LABELS = ("O", "NAME", "ID")


def scores(offsets: list[tuple[int, int]], classes: list[int]) -> TokenScores:
    return TokenScores(
        torch.tensor(offsets), torch.nn.functional.one_hot(torch.tensor(classes), 3).float(), LABELS
    )


def test_counts_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    guess, truth = rng.integers(0, 3, (2, 500))
    counts = count_tokens(torch.from_numpy(guess), torch.from_numpy(truth), 3)
    expected = f1_score(truth, guess, labels=[1, 2], average=None)
    assert [f1(c) for c in counts] == pytest.approx(list(expected))
    assert f1(counts.sum(0)) == pytest.approx(
        f1_score(truth, guess, labels=[1, 2], average="micro")
    )


def test_nothing_to_find_is_undefined() -> None:
    none = np.zeros(3, dtype=np.int64)
    assert all(np.isnan(figure(none)) for figure in (f1, precision, recall))


def test_characters_by_hand() -> None:
    text = "Ana Lee met Bo."
    found = [(0, 3, "NAME", 0.9), (8, 11, "NAME", 0.5), (12, 14, "ID", 1.0)]
    right = [(0, 7, "NAME"), (12, 14, "NAME")]
    # Found: A n a. Wrong: m e t. Missed: L e e and B o; the space does not count.
    assert count_characters(text, found, right, ["NAME", "ID"]).tolist() == [[3, 3, 5], [0, 2, 0]]
    assert f1(np.array([3, 3, 5])) == 2 * 3 / (3 + 3 + 3 + 5)
    assert precision(np.array([3, 3, 5])) == 3 / 6
    assert recall(np.array([3, 3, 5])) == 3 / 8


spans = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["NAME", "ID", "other"])),
    max_size=4,
)


@given(st.text(alphabet="ab \n", min_size=12, max_size=12), spans, spans)
def test_characters_agree_with_asking_each(
    text: str, found: list[tuple[int, int, str]], right: list[tuple[int, int, str]]
) -> None:
    expected = np.zeros((2, 3), dtype=int)
    for index, character in enumerate(text):
        for row, label in enumerate(("NAME", "ID")):
            if character.isspace():
                continue
            said, true = (
                any(a <= index < b and name == label for a, b, name in side)
                for side in (found, right)
            )
            if said or true:
                expected[row, 0 if said and true else 1 if said else 2] += 1
    assert count_characters(text, found, right, ("NAME", "ID")).tolist() == expected.tolist()


def test_spans_of_tokens_by_hand() -> None:
    text = "Dr Ann Lee 42"
    # " Ann" is found with its space, "Lee" is missed, "42" is taken for a name
    found = likeliest_spans(scores([(0, 2), (2, 6), (6, 10), (10, 13)], [0, 1, 0, 1]))
    assert found == [(2, 6, "NAME"), (10, 13, "NAME")]
    right = [LabelledSpan(3, 10, "NAME"), LabelledSpan(11, 13, "ID")]
    assert count_characters(text, found, right, LABELS[1:]).tolist() == [[3, 2, 3], [0, 0, 2]]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), max_size=8))
def test_a_character_over_several_tokens_goes_to_the_first_with_a_label(
    steps: list[tuple[int, int, int]],
) -> None:
    """Starts and ends never go back; tokens may overlap, as those of one character do."""
    offsets, classes, owner = [], [], {}
    start = end = 0
    for forward, longer, label in steps:
        start = min(start + forward, end)
        end += longer
        offsets.append((start, end))
        classes.append(label)
        for character in range(start, end):
            if label:
                owner.setdefault(character, LABELS[label])
    found = likeliest_spans(scores(offsets, classes)) if steps else []
    given_to = {i: label for start, end, label in found for i in range(start, end)}
    assert given_to == owner
    assert sum(max(0, end - start) for start, end, _ in found) == len(owner)  # each once
