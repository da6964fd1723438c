import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from endoscope.probes import Document, LabelledSpan, ProbeData, count_characters, token_evidence
from endoscope.probes.metrics import count, f1, precision, recall
from endoscope.readouts import TokenScores

LABELS = ("O", "NAME", "ID")


def scores(offsets: list[tuple[int, int]], classes: list[int]) -> TokenScores:
    return TokenScores(
        torch.tensor(offsets), torch.nn.functional.one_hot(torch.tensor(classes), 3).float(), LABELS
    )


def test_counts_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    guess, truth = rng.integers(0, 3, (2, 500))
    counts = count(torch.from_numpy(guess), torch.from_numpy(truth), 3)
    expected = f1_score(truth, guess, labels=[1, 2], average=None)
    assert [f1(c) for c in counts] == pytest.approx(list(expected))
    assert f1(counts.sum(0)) == pytest.approx(
        f1_score(truth, guess, labels=[1, 2], average="micro")
    )


def test_nothing_to_find_is_undefined() -> None:
    none = np.zeros(3, dtype=np.int64)
    assert all(np.isnan(figure(none)) for figure in (f1, precision, recall))


def test_characters_by_hand() -> None:
    text = "Dr Ann Lee 42"
    # " Ann" is found with its space, "Lee" is missed, "42" is taken for a name
    found = scores([(0, 2), (2, 6), (6, 10), (10, 13)], [0, 1, 0, 1])
    spans = [LabelledSpan(3, 10, "NAME"), LabelledSpan(11, 13, "ID")]
    assert count_characters(text, found, spans).tolist() == [[3, 2, 3], [0, 0, 2]]


def test_a_character_over_two_tokens_counts_once() -> None:
    found = scores([(0, 1), (0, 1), (1, 2)], [0, 1, 0])
    assert count_characters("é.", found, [LabelledSpan(0, 1, "NAME")]).tolist() == [
        [1, 0, 0],
        [0, 0, 0],
    ]


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
