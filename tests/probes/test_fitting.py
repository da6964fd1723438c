"""The trainers against scikit-learn and against formulas."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from endoscope import logistic
from endoscope.logistic import Rows, fit_logistic
from endoscope.probes import mass_mean
from endoscope.probes.mass_mean import fit_mass_mean
from endoscope.probes.standardise import Scaler


def problem(n: int = 400, width: int = 12, labels: int = 3, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, labels, (n,), generator=generator)
    centres = torch.randn(labels, width, generator=generator)
    mixing = torch.randn(width, width, generator=generator)  # correlated, as activations are
    features = centres[classes] + torch.randn(n, width, generator=generator) @ mixing
    return Rows(features, classes, torch.rand(n, generator=generator) + 0.5)


@pytest.mark.parametrize("penalty", [1e-1, 1e-2, 1e-3])
def test_logistic_is_scikit_learns_optimum(penalty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-9)
    rows = problem()
    found = fit_logistic(rows, rows, 3, [penalty])
    # scikit-learn minimises C * sum of losses + |W|² / 2
    peer = LogisticRegression(C=1 / (penalty * float(rows.weights.sum())), tol=1e-10, max_iter=5000)
    peer.fit(rows.features.numpy(), rows.classes.numpy(), rows.weights.numpy())
    ours = torch.softmax(found(rows.features), 1).numpy()
    assert np.abs(ours - peer.predict_proba(rows.features.numpy())).max() < 2e-3
    centred = found.weight - found.weight.mean(0)
    assert np.abs(centred.numpy() - peer.coef_).max() < 5e-3


def test_the_penalty_is_the_one_that_validation_likes_best() -> None:
    train, validation = problem(60, 40, 2, seed=1), problem(300, 40, 2, seed=1)
    penalties = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
    found = fit_logistic(train, validation, 2, penalties)

    def loss(penalty: float) -> float:
        fitted = fit_logistic(train, validation, 2, [penalty])
        log_p = torch.log_softmax(fitted(validation.features), 1)
        picked = log_p[torch.arange(300), validation.classes]
        return -float((picked * validation.weights).sum() / validation.weights.sum())

    assert found.penalty == min(penalties, key=loss)


def test_mass_mean_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mass_mean, "SHRINKAGES", (0.0,))
    rows = problem(labels=2)._replace(weights=torch.ones(400))
    found = fit_mass_mean(rows, rows, 2)
    x, y = rows.features.double().numpy(), rows.classes.numpy()
    means = [x[y == c].mean(0) for c in (0, 1)]
    within = sum((x[y == c] - means[c]).T @ (x[y == c] - means[c]) for c in (0, 1)) / len(x)
    theta = np.linalg.solve(within, means[1] - means[0])
    ours = (found.weight[1] - found.weight[0]).numpy()
    assert np.abs(ours - theta).max() < 1e-3 * np.abs(theta).max()


def test_mass_mean_with_several_classes_is_linear_discriminant_analysis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mass_mean, "SHRINKAGES", (0.0,))
    rows = problem()._replace(weights=torch.ones(400))
    found = fit_mass_mean(rows, rows, 3)
    peer = LinearDiscriminantAnalysis(solver="lsqr").fit(
        rows.features.numpy(), rows.classes.numpy()
    )
    ours = torch.softmax(found(rows.features), 1).numpy()
    assert np.abs(ours - peer.predict_proba(rows.features.numpy())).max() < 1e-2


def test_folding_the_standardisation_changes_nothing() -> None:
    rows = problem()
    raw = rows.features * torch.logspace(-2, 3, 12) + 50
    raw[:, 3] = 7.0  # never changes
    scaler = Scaler.of(raw)
    fitted = fit_logistic(rows._replace(features=scaler(raw.clone())), rows, 3, [1e-2])
    weight, bias = scaler.fold(fitted)
    expected = fitted(scaler(raw.clone()))
    assert torch.isfinite(weight).all()
    assert torch.allclose(raw.double() @ weight.double().T + bias, expected.double(), atol=1e-3)
