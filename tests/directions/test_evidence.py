"""The figures on a card, against figures that are known."""

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from endoscope.artifacts import DataRef, Evidence
from endoscope.directions import METHODS, Contrast, Estimate
from endoscope.directions.evidence import agreement, alignment, erased, separability
from tests.directions.contrasts import gaussian

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = DataRef(name="made up", sha256="0" * 64, rows=1)


def by_metric(evidence: list[Evidence]) -> dict[str, Evidence]:
    return {f"{e.metric}{' ' + e.baseline if e.baseline else ''}": e for e in evidence}


def test_separability_is_scikit_learns_auroc() -> None:
    train, test = gaussian(paired=True).split(0.7, Random(0))
    basis = METHODS["mean"](train, 1).basis
    found = by_metric(separability(basis, train, test, DATA, 0))["auroc"]
    scores = (test.rows @ basis[0]).numpy()
    assert found.value == pytest.approx(roc_auc_score(test.classes.numpy(), scores))
    assert found.low < found.value < found.high
    assert (found.n, found.split) == (60, "test")


def test_a_direction_turned_round_is_below_chance_but_random_ones_never_are() -> None:
    train, test = gaussian(paired=True).split(0.7, Random(0))
    basis = METHODS["mean"](train, 1).basis
    there, back = (by_metric(separability(b, train, test, DATA, 0)) for b in (basis, -basis))
    assert back["auroc"].value == pytest.approx(1 - there["auroc"].value)
    random = there["auroc random directions"]
    assert random.low >= 0.5
    assert random == back["auroc random directions"]
    assert random.value < there["auroc"].value


def test_random_directions_find_nothing_where_there_is_nothing() -> None:
    """2,000 rows of noise: no direction is far from chance."""
    torch.manual_seed(0)
    rows, classes = torch.randn(2000, 6, dtype=torch.float64), torch.arange(2000) % 2
    noise = Contrast(rows, classes, torch.arange(2000), ("no", "yes"), paired=False)
    train, test = noise.split(0.5, Random(0))
    found = by_metric(separability(METHODS["mean"](train, 1).basis, train, test, DATA, 0))
    assert found["auroc random directions"].high < 0.56
    assert found["auroc"].low < 0.5 < found["auroc"].high


def test_in_a_subspace_the_score_is_along_the_difference_of_the_training_means() -> None:
    train, test = gaussian(paired=True).split(0.7, Random(0))
    basis = METHODS["pca"](train, 3).basis
    direction = basis.T @ basis @ train.difference()
    found = by_metric(separability(basis, train, test, DATA, 0))["auroc"]
    scores = (test.rows @ direction).numpy()
    assert found.value == pytest.approx(roc_auc_score(test.classes.numpy(), scores))


def test_each_class_has_its_own_figure_where_there_are_several() -> None:
    train, test = gaussian(600, classes=3).split(0.7, Random(0))
    found = separability(METHODS["leace"](train, 1).basis, train, test, DATA, 0)
    assert [e.label for e in found if e.baseline is None] == ["class 1", "class 2"]
    assert all(e.value > 0.6 for e in found if e.baseline is None)


def test_agreement_by_hand() -> None:
    """Differences (3, 4) and (3, -4): their mean is along the first axis."""
    rows = torch.tensor([[1.0, 1.0], [4.0, 5.0], [0.0, 4.0], [3.0, 0.0]], dtype=torch.float64)
    pairs = Contrast(
        rows, torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]), ("no", "yes"), paired=True
    )
    estimate = METHODS["mean"](pairs, 1)
    aligned = by_metric(alignment(estimate.basis, pairs, DATA, 0))
    assert aligned["cosine_of_differences"].value == pytest.approx(0.6)
    found = by_metric(agreement(METHODS["mean"], pairs, 1, 6.0, DATA, 0))
    assert found["norm"].value == pytest.approx(3.0)
    assert found["norm_typical"].value == pytest.approx(0.5)
    # each half has one pair: the cosine of (3, 4) and (3, -4)
    assert found["cosine_of_halves"].value == pytest.approx(-7 / 25)


def test_halves_of_much_material_agree_and_those_of_noise_do_not() -> None:
    much = gaussian(800)
    torch.manual_seed(1)
    nothing = Contrast(
        torch.randn(200, 50, dtype=torch.float64),
        torch.arange(200) % 2,
        torch.arange(200),
        ("no", "yes"),
        paired=False,
    )
    halves = [
        by_metric(agreement(METHODS["mean"], c, 1, 1.0, DATA, 0))["cosine_of_halves"].value
        for c in (much, nothing)
    ]
    assert halves[0] > 0.8
    assert abs(halves[1]) < 0.2


def test_single_differences_point_along_a_direction_in_noise_no_more_than_by_chance() -> None:
    torch.manual_seed(0)
    noise = Contrast(
        torch.randn(200, 50, dtype=torch.float64),
        torch.arange(200) % 2,
        torch.arange(200) // 2,
        ("no", "yes"),
        paired=True,
    )
    train, test = noise.split(0.5, Random(0))
    basis = METHODS["mean"](train, 1).basis
    held_out, own = (alignment(basis, part, DATA, 0)[0] for part in (test, train))
    assert held_out.low is not None
    assert held_out.high is not None
    assert held_out.low < 0 < held_out.high
    assert own.low is not None
    assert own.low > 0  # which is why it is not measured there


def test_what_an_erasure_leaves_on_held_out_rows() -> None:
    torch.manual_seed(0)
    classes = torch.arange(1200) % 2
    rows = torch.randn(1200, 6, dtype=torch.float64) + 3 * classes[:, None]
    whole = Contrast(rows, classes, torch.arange(1200), ("no", "yes"), paired=False)
    train, test = whole.split(0.5, Random(0))
    left = by_metric(erased(METHODS["leace"](train, 1), test, DATA, 0))["difference_left"]
    assert 1e-6 < left.value < 0.1  # the two halves differ by chance
    itself = by_metric(erased(METHODS["leace"](test, 1), test, DATA, 0))["difference_left"]
    assert itself.value < 1e-6
    assert erased(Estimate(METHODS["mean"](train, 1).basis), test, DATA, 0) == []


@given(
    st.integers(4, 40), st.integers(2, 4), st.booleans(), st.floats(0.2, 0.8), st.integers(0, 99)
)
def test_a_split_keeps_units_whole_and_every_class_on_both_sides(
    units: int, classes: int, paired: bool, share: float, seed: int
) -> None:
    classes = 2 if paired else classes
    contrast = gaussian(units * classes, 4, classes, paired=paired)
    left, right = contrast.split(share, Random(seed))
    assert not set(left.names) & set(right.names)
    assert sorted(left.names + right.names) == contrast.names
    for part in (left, right):
        assert set(part.classes.tolist()) == set(range(classes))
    assert len(left.rows) + len(right.rows) == len(contrast.rows)
