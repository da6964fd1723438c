import pytest
import torch

from endoscope.probes import (
    Document,
    LabelledSpan,
    ProbeData,
    document_evidence,
    token_evidence,
)
from endoscope.readouts import TokenScores


def scores(offsets: list[tuple[int, int]], classes: list[int]) -> TokenScores:
    return TokenScores(
        torch.tensor(offsets), torch.eye(3)[torch.tensor(classes)], ("O", "NAME", "ID")
    )


def test_evidence_names_the_data_and_brackets_the_figure() -> None:
    documents = tuple(
        Document(str(i), "Ann 42", None, (LabelledSpan(0, 3, "NAME"),)) for i in range(20)
    )
    data = ProbeData("held.jsonl", "0" * 64, documents, "test")
    found = [scores([(0, 3), (3, 6)], [1, 2 if i % 4 == 0 else 0]) for i in range(20)]
    evidence = {(e.metric, e.label): e for e in token_evidence(data, found)}
    assert evidence["f1_tokens", "NAME"].value == 1
    whole = evidence["f1_tokens", None]
    assert whole.value == pytest.approx(2 * 20 / (2 * 20 + 5))
    assert whole.low < whole.value < whole.high
    assert (whole.data.name, whole.split, whole.n) == ("held.jsonl", "test", 20)
    assert ("recall_tokens", "ID") not in evidence  # there are none: undefined, so left out


def test_resampled_documents_may_all_be_empty() -> None:
    """Of three documents two are empty: eight resamples in 27 hold no token at all."""
    span = (LabelledSpan(0, 3, "NAME"),)
    documents = (Document("a", "Ann 42", None, span), *(Document(i, "", None, ()) for i in "bc"))
    data = ProbeData("held.jsonl", "0" * 64, documents, "test")
    empty = TokenScores(torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, 3), ("O", "NAME", "ID"))
    evidence = {
        e.metric: e for e in token_evidence(data, [scores([(0, 3), (3, 6)], [1, 0]), empty, empty])
    }
    assert evidence["ece_tokens"].value == 0
    assert (evidence["f1_tokens"].low, evidence["f1_tokens"].high) == (1, 1)
    nothing = data.take([1, 2], "test")
    assert token_evidence(nothing, [empty, empty]) == []


def test_a_document_at_the_threshold_is_flagged() -> None:
    truth = ["no", "no", "no", "no", "yes", "yes"]
    data = ProbeData("held.jsonl", "0" * 64, tuple(Document(t, t, t) for t in truth), "test")
    of_yes = torch.tensor([0.1, 0.2, 0.7, 0.8, 0.7, 0.6])
    probabilities = torch.stack([1 - of_yes, of_yes], 1)
    threshold = float(of_yes[2])
    found = document_evidence(data, probabilities, ("no", "yes"), {"yes": threshold})
    figures = {e.metric: e.value for e in found if e.label == "yes"}
    assert figures["recall_at_threshold"] == 1 / 2
    assert figures["fpr_at_threshold"] == 2 / 4
    assert figures["f1_at_threshold"] == 2 * 1 / (2 * 1 + 2 + 1)
