"""Each method against what it has to give."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope.directions import METHODS, Contrast, similarity
from endoscope.errors import InputError
from tests.directions.contrasts import accuracy_of_a_linear_probe, gaussian

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("method", METHODS)
def test_a_basis_is_orthonormal_and_points_to_the_positive(method: str) -> None:
    contrast = gaussian(paired=True)
    basis = METHODS[method](contrast, 1).basis
    assert torch.allclose(basis @ basis.T, torch.eye(len(basis), dtype=torch.float64))
    assert float(basis[0] @ contrast.difference()) > 0


@pytest.mark.parametrize("method", METHODS)
def test_swapping_the_classes_turns_the_direction_round(method: str) -> None:
    contrast = gaussian(paired=True)
    swapped = replace(contrast, classes=1 - contrast.classes)
    turned = similarity(METHODS[method](contrast, 1).basis, METHODS[method](swapped, 1).basis)
    assert turned == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_where_one_axis_tells_that_axis_is_found(method: str) -> None:
    torch.manual_seed(0)
    rows = 0.1 * torch.randn(200, 6, dtype=torch.float64)
    classes = torch.arange(200) % 2
    rows[:, 3] += classes.double()
    contrast = Contrast(rows, classes, torch.arange(200) // 2, ("no", "yes"), paired=True)
    assert METHODS[method](contrast, 1).basis[0, 3] > 0.95


def test_mean_by_hand() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 1.0], [2.0, 0.0], [5.0, 7.0]], dtype=torch.float64)
    contrast = Contrast(
        rows, torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]), ("no", "yes"), paired=True
    )
    # (4, 4) - (1, 0)
    assert torch.allclose(
        METHODS["mean"](contrast, 1).basis, torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    )


def test_logistic_agrees_with_scikit_learn() -> None:
    """The same loss on the same rows, with the penalty that was chosen."""
    from random import Random

    from sklearn.linear_model import LogisticRegression

    from endoscope.directions.methods.logistic import PENALTIES

    contrast = gaussian(2000)
    _, train = contrast.split(0.2, Random(0))
    centred = train.rows - train.rows.mean(0)
    features = centred / centred.norm(dim=1).mean()
    found = METHODS["logistic"](contrast, 1).basis
    near = max(
        similarity(found, torch.nn.functional.normalize(torch.tensor(weight)))
        for penalty in PENALTIES
        # Two rows of weights, as ours: w and -w halve the penalty of their difference.
        for weight in [
            LogisticRegression(C=2 / (penalty * len(features)), tol=1e-8, max_iter=5000)
            .fit(features.numpy(), train.classes.numpy())
            .coef_
        ]
    )
    assert near > 0.999


def test_pca_is_the_eigenvectors_of_the_differences() -> None:
    contrast = gaussian(paired=True)
    differences = contrast.rows[1::2] - contrast.rows[::2]
    vectors = torch.linalg.eigh(differences.T @ differences).eigenvectors.flip(1).T
    basis = METHODS["pca"](contrast, 3).basis
    assert torch.allclose((basis * vectors[:3]).sum(1).abs(), torch.ones(3, dtype=torch.float64))
    assert bool((basis @ differences.mean(0) > 0).all())


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_after_leace_no_linear_classifier_beats_the_majority(classes: int) -> None:
    contrast = gaussian(900, classes=classes)
    assert accuracy_of_a_linear_probe(contrast.rows, contrast.classes) > 1 / classes + 0.15
    estimate = METHODS["leace"](contrast, 1)
    assert estimate.erasure is not None
    after = estimate.erasure(contrast.rows)
    means = torch.stack([after[contrast.classes == c].mean(0) for c in range(classes)])
    assert float((means - after.mean(0)).abs().max()) < 1e-4
    majority = float(torch.bincount(contrast.classes).max()) / len(contrast.classes)
    assert accuracy_of_a_linear_probe(after, contrast.classes) <= majority + 0.005
    assert len(estimate.basis) == classes - 1


def test_leace_changes_least() -> None:
    """Against the least-squares problem, solved by hand: min E|Px| with P S_xz = S_xz.

    Row by row of P it is a quadratic program with linear constraints, of which the solution is
    `P = C (C^T S^-1 C)^-1 C^T S^-1` with C a basis of the columns of S_xz.
    """
    contrast = gaussian(900, classes=3)
    erasure = METHODS["leace"](contrast, 1).erasure
    assert erasure is not None
    rows = contrast.rows - contrast.rows.mean(0)
    precision = torch.linalg.inv(rows.T @ rows / len(rows))
    columns = torch.stack([rows[contrast.classes == c].mean(0) for c in (0, 1)], dim=1)
    by_hand = columns @ torch.linalg.solve(columns.T @ precision @ columns, columns.T @ precision)
    assert torch.allclose(erasure.left.T @ erasure.right, by_hand, atol=1e-8)
    # and it is a smaller change than projecting the differences away, which erases as well
    change = (contrast.rows - erasure(contrast.rows)).square().sum()
    basis = METHODS["leace"](contrast, 1).basis
    projected = (rows @ basis.T @ basis).square().sum()
    assert change < projected


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_leace_does_not_depend_on_scale_or_place(seed: int, scale: float) -> None:
    contrast = gaussian(80, 5, seed=seed)
    shift = torch.randn(5, dtype=torch.float64)
    moved = replace(contrast, rows=contrast.rows * scale + shift)
    before, after = METHODS["leace"](contrast, 1).erasure, METHODS["leace"](moved, 1).erasure
    assert before is not None
    assert after is not None
    assert torch.allclose(
        before(contrast.rows) * scale + shift, after(moved.rows), atol=1e-6 * max(1, scale)
    )


def test_leace_with_fewer_rows_than_numbers_still_erases_those() -> None:
    contrast = gaussian(20, 50)
    erasure = METHODS["leace"](contrast, 1).erasure
    assert erasure is not None
    after = erasure(contrast.rows)
    gap = after[contrast.classes == 1].mean(0) - after[contrast.classes == 0].mean(0)
    assert float(gap.abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("method", "contrast", "rank", "words"),
    [
        ("mean", gaussian(classes=3), 1, "two labels"),
        ("mean", gaussian(), 2, "gives one direction"),
        ("logistic", gaussian(), 2, "gives one direction"),
        ("pca", gaussian(), 1, "needs pairs"),
        ("pca", gaussian(paired=True), 13, "no 13 components"),
        ("leace", gaussian(), 3, "not 3"),
    ],
)
def test_what_a_method_cannot_do_is_refused(
    method: str, contrast: Contrast, rank: int, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        METHODS[method](contrast, rank)


@pytest.mark.parametrize("method", ["mean", "logistic"])
def test_classes_that_do_not_differ_have_no_direction(method: str) -> None:
    same = replace(gaussian(40, paired=True), rows=torch.ones(40, 12, dtype=torch.float64))
    with pytest.raises(InputError, match="do not differ"):
        METHODS[method](same, 1)


def test_similarity_of_subspaces_does_not_depend_on_their_bases() -> None:
    one = torch.linalg.qr(torch.randn(8, 3, dtype=torch.float64)).Q.T
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    assert similarity(one, turn @ one) == pytest.approx(1)
    assert similarity(torch.eye(4)[:2], torch.eye(4)[2:]) == 0
    assert similarity(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])) == -1
