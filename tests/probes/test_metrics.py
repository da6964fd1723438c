import pytest
import torch

from endoscope.probes import Document, LabelledSpan, ProbeData, token_evidence
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
