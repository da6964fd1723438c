"""Texts of which a vocabulary can say nothing: named and refused, never judged."""

import dataclasses
from pathlib import Path

import pytest
import torch
from tests.tiny import save_gappy

import endoscope
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.probes import (
    Document,
    FitOptions,
    LabelledSpan,
    Probe,
    ProbeData,
    fit_activations,
)
from endoscope.readouts import FeatureSpec, Pooling

pytestmark = pytest.mark.usefixtures("one_thread")

SITE = "resid_post.0"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return endoscope.open(save_gappy(tmp_path_factory.mktemp("gappy")), device="cpu")


@pytest.fixture(scope="module")
def data() -> ProbeData:
    documents = tuple(
        Document(f"d{i}", f"{i % 7} {'!!' if i % 2 else '..'}", "ab"[i % 2]) for i in range(60)
    )
    return ProbeData("data", "0" * 64, documents)


@pytest.fixture(scope="module")
def probe(model: Model, data: ProbeData) -> Probe:
    return Probe.fit(model, data, sites=SITE)


def spoilt(data: ProbeData, *places: int) -> ProbeData:
    """The same data, with documents that have no tokens."""
    documents = list(data.documents)
    for place in places:
        documents[place] = dataclasses.replace(documents[place], content="\x04")
    return dataclasses.replace(data, documents=tuple(documents))


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("pooling", ["mean", "last", "max"])
def test_fitting_names_them(model: Model, data: ProbeData, part: str, pooling: str) -> None:
    parts = data.split({"train": 0.7, "validation": 0.15, "test": 0.15})
    place = parts[part][1]
    with pytest.raises(InputError, match=rf"without tokens .*: 'd{place}'\. .*leave them out"):
        Probe.fit(model, spoilt(data, place), sites=SITE, pooling=pooling)


def test_of_many_the_first_are_named(model: Model, data: ProbeData) -> None:
    with pytest.raises(InputError, match=r"'d0', 'd1', 'd2', 'd3', 'd4' and 7 more\."):
        Probe.fit(model, spoilt(data, *range(12)), sites=SITE)


@pytest.mark.parametrize("place", [5, 55])
def test_fitting_activations_names_them(model: Model, data: ProbeData, place: int) -> None:
    bad = spoilt(data, place)
    acts = model.capture(bad.contents, SITE, ids=bad.ids)
    with pytest.raises(InputError, match=f"'d{place}'"):
        fit_activations(
            acts,
            bad.classes(("a", "b")),
            ("a", "b"),
            FeatureSpec(SITE),  # type: ignore[arg-type]
            train=range(40),
            validation=range(40, 60),
            pooling=Pooling.parse("mean"),
            options=FitOptions(),
        )


def test_evaluating_names_the_document(
    model: Model, data: ProbeData, probe: Probe, tmp_path: Path
) -> None:
    for keep in (None, tmp_path):
        with pytest.raises(InputError, match=r"without tokens .*: 'd17'\."):
            probe.evaluate(model, spoilt(data, 17), keep=keep)


def test_scoring_names_the_number(model: Model, probe: Probe) -> None:
    texts = [f"{i % 7} !!" for i in range(300)]  # more than are read at once
    texts[270] = "\x04"
    with pytest.raises(InputError, match=r"without tokens .*: '270'\."):
        probe.score_documents(model, texts)


def test_a_probe_of_tokens_has_nothing_to_say(model: Model) -> None:
    marked = (LabelledSpan(3, 6, "N"),)
    documents = [Document(f"d{i}", f"ab {i:03d}", None, marked) for i in range(60)]
    documents[3] = Document("d3", "\x04", None, ())
    probe = Probe.fit(model, ProbeData("data", "0" * 64, tuple(documents)), sites=SITE)
    (scores,) = probe.score(model, ["\x04"])
    assert scores.probabilities.shape == (0, 2)
    assert all(torch.isfinite(t).all() for t in probe.head.tensors().values())
