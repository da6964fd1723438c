"""Fitting from activations with a planted signal."""

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from endoscope.activations import Activations
from endoscope.artifacts import Fingerprint
from endoscope.errors import InputError
from endoscope.models import Site
from endoscope.probes import FitOptions, Fitted, fit_activations
from endoscope.probes.training import Batch, train_through_pooling
from endoscope.readouts import FeatureSpec, Pooling

pytestmark = pytest.mark.usefixtures("one_thread")

SITE = Site.parse("resid_post.1")
SPEC = FeatureSpec((SITE,))
LABELS = ("O", "x")
WIDTH = 8
PRINT = Fingerprint(config="0" * 64, weights="0" * 64)


def activations(lengths: Sequence[int], seed: int = 0) -> Activations:
    """Random values; the first token of each document is a BOS with an enormous norm."""
    generator = torch.Generator().manual_seed(seed)
    documents = torch.tensor([i for i, n in enumerate(lengths) for _ in range(n)])
    offsets = torch.cat([torch.arange(n) for n in lengths])
    values = torch.randn(len(documents), WIDTH, generator=generator)
    values[offsets == 0] = 1e4
    return Activations(
        values={SITE: values},
        token_ids=torch.zeros(len(documents), dtype=torch.long),
        offsets=torch.stack([(offsets - 1).clamp(min=0), offsets], 1),
        documents=documents,
        document_ids=[str(i) for i in range(len(lengths))],
        fingerprint=PRINT,
    )


def planted_documents(pooling_signal: str, n: int = 240) -> tuple[Activations, Tensor]:
    """Documents of class 1 have the signal in all tokens, or in three in a row."""
    acts = activations([12] * n)
    classes = torch.arange(n) % 2
    for document in range(1, n, 2):
        rows = acts.rows(document)
        first = rows.start + 1 + document % 8
        chosen = (
            slice(rows.start + 1, rows.stop) if pooling_signal == "all" else slice(first, first + 3)
        )
        acts.values[SITE][chosen, 0] += 1.0 if pooling_signal == "all" else 4.0
    return acts, classes


def fit_documents(
    acts: Activations, classes: Tensor, pooling: str, options: FitOptions | None = None
) -> Fitted:
    return fit_activations(
        acts,
        classes,
        LABELS,
        SPEC,
        train=range(120),
        validation=range(120, 180),
        pooling=Pooling.parse(pooling),
        options=options,
    )


def document_accuracy(fitted: Fitted, acts: Activations, classes: Tensor, pooling: str) -> float:
    right = []
    for document in range(180, 240):
        features = acts.document(document)[SITE][1:]
        odds = fitted.calibration(Pooling.parse(pooling)(fitted.head(features)))
        right.append(bool(odds[1] > 0) == bool(classes[document]))
    return sum(right) / len(right)


@pytest.mark.parametrize(
    ("head", "pooling", "signal"),
    [
        ("logistic", "mean", "all"),
        ("mass_mean", "mean", "all"),
        ("logistic", "max", "some"),
        ("logistic", "top_k_mean:3", "some"),
        ("logistic", "rolling_mean_max:3", "some"),
        ("attention", "max", "some"),
    ],
)
def test_document_heads_find_a_planted_signal(head: str, pooling: str, signal: str) -> None:
    acts, classes = planted_documents(signal)
    options = FitOptions(head=head, window=4, queries=2)
    fitted = fit_documents(acts, classes, pooling, options)
    assert document_accuracy(fitted, acts, classes, pooling) > 0.85


def test_shuffled_labels_give_chance() -> None:
    acts, classes = planted_documents("all")
    shuffled = classes[torch.randperm(len(classes), generator=torch.Generator().manual_seed(1))]
    fitted = fit_documents(acts, shuffled, "mean")
    assert 0.3 < document_accuracy(fitted, acts, shuffled, "mean") < 0.7


@pytest.mark.parametrize("head", ["logistic", "attention"])
def test_the_same_seed_gives_the_same_head(head: str) -> None:
    acts, classes = planted_documents("some", 180)
    options = FitOptions(head=head, queries=2, seed=3)
    first, second = (fit_documents(acts, classes, "max", options) for _ in range(2))
    for name, tensor in first.head.tensors().items():
        assert torch.equal(tensor, second.head.tensors()[name])
    assert first.thresholds == second.thresholds


def tokens() -> tuple[Activations, Tensor]:
    """One token in twenty is an x, and its successor says so."""
    acts = activations([41] * 90)
    classes = (torch.arange(len(acts)) % 20 == 5).long()
    classes[acts.offsets[:, 1] == 0] = 0
    after = torch.nonzero(classes).squeeze(1) + 1
    acts.values[SITE][after[after < len(acts)], 2] += 5.0
    return acts, classes


def fit_tokens(spec: FeatureSpec, options: FitOptions | None = None) -> tuple[Fitted, float]:
    """The fitted head, and its token F1 on documents that it has not seen."""
    acts, classes = tokens()
    fitted = fit_activations(
        acts, classes, LABELS, spec, train=range(50), validation=range(50, 70), options=options
    )
    hits = wrong = 0
    for document in range(70, 90):
        part = acts.document(document)
        features = spec.features(part.values, part.documents)[1:]
        guess = fitted.calibration.probabilities(fitted.head(features)).argmax(1)
        truth = classes[acts.rows(document)][1:]
        hits += int((guess * truth).sum())
        wrong += int((guess != truth).sum())
    return fitted, 2 * hits / max(1, 2 * hits + wrong)


def test_look_ahead_sees_what_the_token_alone_does_not() -> None:
    assert fit_tokens(SPEC)[1] < 0.2
    assert fit_tokens(FeatureSpec((SITE,), look_ahead=1))[1] > 0.85


def test_training_on_some_of_the_rows_keeps_the_probabilities_honest() -> None:
    spec = FeatureSpec((SITE,), look_ahead=1)
    whole, f1 = fit_tokens(spec)
    some, f1_of_some = fit_tokens(spec, FitOptions(max_rows=400))
    assert f1_of_some > f1 - 0.1
    assert some.head.tensors()["bias"][1] - some.head.tensors()["bias"][0] == pytest.approx(
        float(whole.head.tensors()["bias"][1] - whole.head.tensors()["bias"][0]), abs=1.5
    )


def test_thresholds_keep_to_the_budget_on_validation() -> None:
    spec = FeatureSpec((SITE,), look_ahead=1)
    acts, classes = tokens()
    fitted, _ = fit_tokens(spec, FitOptions(fpr=0.02))
    scores, truth = [], []
    for document in range(50, 70):
        part = acts.document(document)
        features = spec.features(part.values, part.documents)[1:]
        scores.append(fitted.calibration.probabilities(fitted.head(features))[:, 1])
        truth.append(classes[acts.rows(document)][1:])
    negatives = torch.cat(scores)[torch.cat(truth) == 0]
    share = float((negatives >= fitted.thresholds["x"] + 1e-4).float().mean())
    assert 0.01 < share <= 0.02


def test_what_cannot_be_fitted_is_refused() -> None:
    acts, classes = tokens()
    with pytest.raises(InputError, match="no example of x"):
        fit_activations(
            acts, torch.zeros_like(classes), LABELS, SPEC, train=range(50), validation=range(50, 70)
        )
    with pytest.raises(InputError, match="attention head judges text as a whole"):
        fit_tokens(SPEC, FitOptions(head="attention"))
    with pytest.raises(InputError, match="No head is called 'mlp'"):
        FitOptions(head="mlp")


@pytest.mark.parametrize("fails", [False, True])
def test_training_takes_one_thread_and_gives_the_others_back(fails: bool) -> None:
    """Many small tensors: more threads only wait for each other."""
    seen: list[int] = []

    def forward(parameters: list[Tensor], batch: Batch) -> Tensor:
        seen.append(torch.get_num_threads())
        if fails:
            raise InputError("no more")
        return batch.features @ parameters[0].T

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(InputError) if fails else nullcontext():
            train_through_pooling(
                [torch.zeros(2, 1)],
                forward,
                Pooling.parse("mean"),
                lambda chosen: Batch(torch.ones(len(chosen), 1), torch.tensor(chosen)),
                torch.tensor([0, 1]),
                torch.ones(2),
                [0, 1],
                [0, 1],
                penalty=0.0,
                seed=0,
            )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_few_negatives_set_no_threshold_below_the_even_bet() -> None:
    acts, classes = planted_documents("all")
    strict = FitOptions(fpr=0.01)  # 30 negatives on validation cannot show it
    assert fit_documents(acts, classes, "mean", strict).thresholds["x"] >= 0.5
    loose = fit_documents(acts, classes, "mean", FitOptions(fpr=0.5))
    assert loose.thresholds["x"] < 0.5
