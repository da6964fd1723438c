import math
from typing import Any

import pytest
import torch

from endoscope.errors import InputError
from endoscope.readouts import (
    AttentionHead,
    Calibration,
    LogisticHead,
    MassMeanHead,
    head_from_tensors,
)

LABELS = ("O", "x", "y")


def linear() -> LogisticHead:
    return LogisticHead(torch.randn(3, 4), torch.randn(3), LABELS)


def attention(window: int = 3) -> AttentionHead:
    return AttentionHead(torch.randn(2, 4), torch.randn(2, 2, 4), torch.randn(2), LABELS, window)


def test_attention_equals_the_sum_written_out() -> None:
    head, features = attention(3), torch.randn(7, 4)
    documents = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    found = head(features, documents)
    assert torch.equal(found[:, 0], torch.zeros(7, dtype=found.dtype))
    for t in range(7):
        window = [s for s in range(max(0, t - 2), t + 1) if documents[s] == documents[t]]
        for c in range(2):
            total = float(head.bias[c])
            for q in range(2):
                weights = [math.exp(float(features[s] @ head.query[q])) for s in window]
                values = [float(features[s] @ head.value[q, c]) for s in window]
                total += sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            assert float(found[t, c + 1]) == pytest.approx(total, abs=1e-5)


def test_attention_without_preference_is_the_mean_of_the_window() -> None:
    head = AttentionHead(torch.zeros(1, 4), torch.randn(1, 1, 4), torch.zeros(1), ("O", "x"), 100)
    features = torch.randn(5, 4)
    expected = (features @ head.value[0, 0]).mean()
    assert float(head(features)[-1, 1]) == pytest.approx(float(expected), abs=1e-6)


def test_a_score_does_not_depend_on_how_many_are_scored() -> None:
    head, features = linear(), torch.randn(9000, 4) * 1e3
    whole = head(features)
    assert torch.allclose(whole[4000:4001], head(features[4000:4001]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("head", [linear(), attention()], ids=["linear", "attention"])
def test_no_tokens(head: Any) -> None:
    assert head(torch.zeros(0, 4)).shape == (0, 3)


@pytest.mark.parametrize(
    "head",
    [linear(), MassMeanHead(torch.randn(3, 4), torch.randn(3), LABELS), attention()],
    ids=lambda head: head.kind,
)
def test_round_trip(head: Any) -> None:
    again = head_from_tensors(head.config(), head.tensors())
    assert type(again) is type(head)
    assert again.labels == LABELS
    features = torch.randn(6, 4)
    assert torch.equal(again(features), head(features))


def test_files_that_do_not_fit_are_refused() -> None:
    head = linear()
    with pytest.raises(InputError, match="No head is called 'mlp'"):
        head_from_tensors({"kind": "mlp"}, {})
    with pytest.raises(InputError, match="do not fit"):
        head_from_tensors(head.config(), {"weight": head.weight})
    with pytest.raises(InputError, match="do not fit"):
        head_from_tensors({**head.config(), "labels": list("OABCD")}, head.tensors())
    for labels in (["O"], ["O", "O"], [1, 2], "OA", None):
        with pytest.raises(InputError, match="labels"):
            head_from_tensors({**head.config(), "labels": labels}, head.tensors())


def test_calibration_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0]])
    found = Calibration((2.0, 0.5), (0.1, -0.3)).probabilities(logits)
    odds = torch.tensor([[0.0, 1.0 * 2 + 0.1, -2.0 * 0.5 - 0.3]])
    assert torch.allclose(found, odds.softmax(1))
    assert torch.allclose(Calibration().probabilities(logits), logits.softmax(1))
