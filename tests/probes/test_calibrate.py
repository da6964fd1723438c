import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from endoscope.errors import InputError
from endoscope.probes import (
    bootstrap_interval,
    ece,
    fit_calibration,
    recall_at_fpr,
    threshold_at_fpr,
)
from endoscope.statistics import auroc


def test_ece_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    classes = torch.tensor([0, 1, 1, 0])
    # two bins of equal mass: {0.6 wrong, 0.7 wrong}, {0.8 right, 0.9 right}
    expected = (2 * 0.65 + 2 * 0.15) / 4
    assert ece(probabilities, classes, bins=2) == pytest.approx(expected, abs=1e-6)
    assert math.isnan(ece(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)))


def test_ece_of_honest_scores_is_small_and_of_boasts_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    honest = torch.rand(20_000, generator=generator)
    classes = (torch.rand(20_000, generator=generator) < honest).long()
    both = torch.stack([1 - honest, honest], 1)
    assert ece(both, classes) < 0.015
    assert ece((both.log() * 3).softmax(1), classes) > 0.1


def test_calibration_finds_what_was_done_to_the_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(50_000, 3, generator=generator) * 1.5
    classes = torch.multinomial(true.softmax(1), 1, generator=generator).squeeze(1)
    found = fit_calibration(true * 4, classes)
    assert found.scale == pytest.approx((0.25, 0.25), abs=0.01)
    assert found.shift == pytest.approx((0, 0), abs=0.03)
    assert ece(found.probabilities(true * 4), classes) < 0.01 < ece((true * 4).softmax(1), classes)


def test_calibration_mends_a_shifted_class() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(50_000, 2, generator=generator)
    classes = torch.multinomial(true.softmax(1), 1, generator=generator).squeeze(1)
    found = fit_calibration(true + torch.tensor([0.0, 2.0]), classes)
    assert found.shift == pytest.approx((-2,), abs=0.05)


def test_perfect_separation_stays_finite() -> None:
    logits = torch.tensor([[5.0, -5.0]] * 20 + [[-5.0, 5.0]] * 20)
    classes = torch.tensor([0] * 20 + [1] * 20)
    found = fit_calibration(logits, classes)
    assert all(math.isfinite(x) and abs(x) < 100 for x in (*found.scale, *found.shift))


@given(
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60),
    st.floats(0, 1),
)
def test_a_threshold_keeps_to_the_budget_and_is_the_lowest(
    found: list[tuple[int, bool]], budget: float
) -> None:
    scores = np.array([score for score, _ in found], dtype=float)
    positive = np.array([truth for _, truth in found])
    negatives = scores[~positive]
    if not len(negatives):
        with pytest.raises(InputError):
            threshold_at_fpr(scores, positive, budget)
        return
    threshold = threshold_at_fpr(scores, positive, budget)
    assert (negatives >= threshold).mean() <= budget + 1e-8
    if threshold > float("-inf"):
        assert (negatives >= np.nextafter(threshold, -np.inf)).mean() > budget - 1e-8


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_ties_at_the_threshold_by_hand(precision: type) -> None:
    scores = np.array([0.9, 0.7, 0.7, 0.7, 0.2, 0.7, 0.8], dtype=precision)
    positive = np.array([False] * 5 + [True] * 2)

    def reach(budget: float) -> list[bool]:
        threshold = threshold_at_fpr(scores, positive, budget)
        # As the guard compares (double) and as a tensor of the same precision does.
        return [score >= threshold for score in scores.tolist()]

    top, both = [True, *[False] * 5, True], [*[True] * 4, False, True, True]
    assert reach(0.0) == [False] * 7
    # One of the five may pass. A second, a third and a fourth tie: not before all four may.
    for budget in (0.2, 0.4, 0.6):
        assert reach(budget) == top
        assert recall_at_fpr(scores, positive, budget) == 0.5
    assert reach(0.8) == both
    assert recall_at_fpr(scores, positive, 0.8) == 1.0
    assert threshold_at_fpr(scores, positive, 1.0) == float("-inf")


def test_a_threshold_holds_in_the_precision_of_the_scores() -> None:
    scores = torch.tensor([0.1, 0.7, 0.7])  # 0.7 is not the same number in float64
    threshold = threshold_at_fpr(scores.numpy(), np.zeros(3, dtype=bool), 0.0)
    assert not (scores >= threshold).any()
    assert not (scores.double() >= threshold).any()
    assert threshold == pytest.approx(0.7)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=50))
def test_auroc_is_scikit_learns(found: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in found])
    truth = np.array([truth for _, truth in found])
    if truth.all() or not truth.any():
        assert math.isnan(auroc(scores, truth))
    else:
        assert auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


def test_recall_at_fpr_by_hand() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.9, 0.25, 0.95])
    truth = np.array([False, False, False, False, True, True])
    assert recall_at_fpr(scores, truth, 0.0) == 0.5  # only 0.95 is above 0.9
    assert recall_at_fpr(scores, truth, 0.25) == 0.5  # one negative may pass: above 0.3
    assert recall_at_fpr(scores, truth, 0.5) == 1.0  # above 0.2
    assert math.isnan(recall_at_fpr(scores, np.zeros(6, dtype=bool), 0.5))


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_interval(lambda rows: float(values[rows].mean()), 400, seed=1)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.04)
    assert high == pytest.approx(values.mean() + half, abs=0.04)
    assert (low, high) == bootstrap_interval(lambda rows: float(values[rows].mean()), 400, seed=1)
