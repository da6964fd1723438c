"""Behaviours scored by a probe, on a tiny model, against the probe itself."""

import json
import math
from pathlib import Path

import pytest

import endoscope
from endoscope.behaviours import Behaviour, measure
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.probes import Probe, ProbeData
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return endoscope.open(save_tiny(tmp_path_factory.mktemp("probe") / "tiny"))


@pytest.fixture(scope="module")
def probes(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe of tokens and one of documents, in folders of their names."""
    folder = tmp_path_factory.mktemp("probes")
    texts = [f"{'x' * (n % 5)}7{'y' * (n % 3)} no" for n in range(90)]
    rows = [
        {"id": str(n), "text": t, "spans": [[t.index("7"), t.index("7") + 1, "SEVEN"]]}
        for n, t in enumerate(texts)
    ]
    labelled = [
        {"id": str(n), "text": t + " !!" * (n % 3 == 0), "label": "loud" if n % 3 == 0 else "calm"}
        for n, t in enumerate(texts)
    ]
    for name, lines in (("tokens", rows), ("documents", labelled)):
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        pooling = "mean" if name == "documents" else None
        probe = Probe.fit(model, ProbeData.read(file), sites="resid_post.1", pooling=pooling)
        probe.save(folder / name)
    return folder


def behaviour(probe: Path, label: str | None = None) -> Behaviour:
    scorer = {"kind": "probe", "probe": str(probe), "max_tokens": 8}
    return Behaviour.model_validate(
        {
            "name": "sevens",
            "description": "Says 7.",
            "items": [{"id": f"i{n}", "prompt": f"{n} and"} for n in range(4)],
            "scorer": scorer if label is None else {**scorer, "label": label},
        }
    )


def test_the_score_is_the_highest_of_any_token(model: Model, probes: Path) -> None:
    found = measure(model, behaviour(probes / "tokens"))
    probe = Probe.load(probes / "tokens")
    for item in found.items:
        assert item.output
        (scores,) = probe.score(model, [item.output])
        assert math.isclose(item.score, float(scores.probabilities[:, 1].max()), rel_tol=1e-4)


def test_of_documents_it_is_that_of_the_answer(model: Model, probes: Path) -> None:
    probe = Probe.load(probes / "documents")
    label = probe.labels[1]
    found = measure(model, behaviour(probes / "documents", label))
    for item in found.items:
        (row,) = probe.score_documents(model, [str(item.output)]).probabilities
        assert math.isclose(item.score, float(row[1]), rel_tol=1e-4)


def test_what_it_cannot_do(model: Model, probes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no label 'x'"):
        measure(model, behaviour(probes / "tokens", "x"))
    with pytest.raises(InputError, match="no probe"):
        measure(model, behaviour(tmp_path / "none"))
