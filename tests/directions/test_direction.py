"""Directions on a tiny random model, from text to files and back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import endoscope
from endoscope.directions import (
    ContrastingTexts,
    Direction,
    LabelledActivations,
    LabelledTexts,
    similarity,
)
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions import ablate, add, erase
from endoscope.models import Site
from tests.tiny import save_tiny, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")
SITE = "resid_post.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("direction")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return endoscope.open(save_tiny(folder / "model"), device="cpu")


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    """Pairs that differ in their last words."""
    path = folder / "digits.pairs.jsonl"
    rows = [
        {
            "id": f"p{i}",
            "positive": f"{'abc'[i % 3] * (i % 5)} is 7{i}",
            "negative": f"é {i} it is q",
        }
        for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def texts(file: Path) -> ContrastingTexts:
    return ContrastingTexts.read_file(file)


@pytest.fixture(scope="module")
def direction(model: Model, texts: ContrastingTexts) -> Direction:
    return Direction.fit(model, texts, site=SITE)


def figures(direction: Direction) -> dict[str, float]:
    return {e.metric: e.value for e in direction.card.evidence if e.baseline is None}


def test_the_difference_of_means_is_that_of_hugging_faces_own_states(
    model: Model, texts: ContrastingTexts
) -> None:
    """Of all pairs, which are fitted where other material is held out; BOS does not count."""
    found = Direction.fit(model, texts, site=SITE, held_out=texts)
    means: dict[str, list[torch.Tensor]] = {"positive": [], "negative": []}
    for pair in texts.pairs:
        for kind, states in means.items():
            ids = torch.tensor([model.tokenizer.encode(getattr(pair, kind)).ids])
            hidden = model.loaded.module(ids, output_hidden_states=True).hidden_states
            states.append(hidden[2][0, 1:].double().mean(0))
    by_hand = torch.stack(means["positive"]).mean(0) - torch.stack(means["negative"]).mean(0)
    assert torch.allclose(found.vector, (by_hand / by_hand.norm()).float(), atol=1e-5)
    assert figures(found)["norm"] == pytest.approx(float(by_hand.norm()), rel=1e-4)
    assert figures(found)["norm_typical"] == pytest.approx(
        float(by_hand.norm()) / model.typical_norm(SITE), rel=1e-4
    )


def test_the_card_says_what_was_measured_on_what(direction: Direction) -> None:
    whose = {(e.metric, e.baseline, e.split) for e in direction.card.evidence}
    assert whose == {
        ("auroc", None, "test"),
        ("auroc", "random directions", "test"),
        ("cosine_of_differences", None, "test"),
        ("cosine_of_halves", None, "train"),
        ("norm", None, "train"),
        ("norm_typical", None, "train"),
    }
    assert {e.n for e in direction.card.evidence} == {12, 28}
    assert direction.card.kind == "direction"
    assert direction.card.sites == (SITE,)
    assert figures(direction)["auroc"] > 0.9


def test_held_out_pairs_do_not_move_the_direction(model: Model, texts: ContrastingTexts) -> None:
    """Other texts in the pairs that are held out give the same direction."""
    from dataclasses import replace
    from random import Random

    from endoscope.directions.fitting import HELD_OUT

    whole = texts.read(model, [Site.parse(SITE)])[Site.parse(SITE)]
    held = whole.split(1 - HELD_OUT, Random(0))[1].names
    changed = tuple(
        replace(pair, positive="something else") if i in held else pair
        for i, pair in enumerate(texts.pairs)
    )
    other = Direction.fit(model, replace(texts, pairs=changed), site=SITE)
    plain = Direction.fit(model, texts, site=SITE)
    assert torch.allclose(other.basis, plain.basis, atol=1e-5)  # batches differ
    assert figures(other)["auroc"] != figures(plain)["auroc"]


@pytest.mark.parametrize("method", ["mean", "logistic", "pca", "leace"])
def test_it_is_kept_whole(
    model: Model, texts: ContrastingTexts, method: str, tmp_path: Path
) -> None:
    made = Direction.fit(model, texts, site=SITE, method=method, rank=2 if method == "pca" else 1)
    saved = made.save(tmp_path / "direction")
    found = Direction.load(tmp_path / "direction")
    assert torch.equal(found.basis, made.basis)
    assert (found.site, found.method, found.card) == (Site.parse(SITE), method, saved)
    assert (found.erasure is None) == (method != "leace")
    if found.erasure is not None and made.erasure is not None:
        assert all(map(torch.equal, found.erasure, made.erasure))
    assert torch.allclose(found.basis @ found.basis.T, torch.eye(found.rank), atol=1e-5)


def test_several_sites_are_read_at_once_and_give_the_same(
    model: Model, texts: ContrastingTexts, direction: Direction
) -> None:
    both = Direction.fit_at(model, texts, ["resid_pre.0", SITE])
    assert [str(one.site) for one in both] == ["resid_pre.0", SITE]
    assert torch.equal(both[1].basis, direction.basis)
    with pytest.raises(InputError, match="one site"):
        Direction.fit(model, texts, site="resid_pre.0,resid_post.1")


def test_projections_are_coordinates(model: Model, direction: Direction) -> None:
    acts = model.capture(["some text", "more"], SITE)
    found = direction.project(acts)
    assert found.shape == (len(acts), 1)
    assert torch.allclose(found[:, 0], acts[SITE] @ direction.vector, atol=1e-5)
    assert torch.equal(direction.project(acts[SITE]), found)
    with pytest.raises(InputError, match="was not read"):
        direction.project(model.capture(["x"], "resid_pre.0"))
    with pytest.raises(InputError, match="has 32 numbers"):
        direction.project(torch.zeros(2, 5))


@pytest.mark.filterwarnings("ignore::endoscope.artifacts.TransferWarning")
def test_interventions_take_directions(
    model: Model, texts: ContrastingTexts, direction: Direction
) -> None:
    """Added, its coordinate rises by so much; ablated, it is nothing."""
    plain = direction.project(model.capture(["some text"], SITE))
    with model.intervene(add(direction, 3.0, units="absolute")):
        assert torch.allclose(
            direction.project(model.capture(["some text"], SITE)), plain + 3, atol=1e-4
        )
    plane = Direction.fit(model, texts, site=SITE, method="pca", rank=2)
    with model.intervene(ablate(plane)):
        assert float(plane.project(model.capture(["some text"], SITE)).abs().max()) < 1e-4


def test_an_erasure_works_in_the_model(model: Model) -> None:
    """After it the class means of all tokens are equal in what the model itself computes."""
    contents = [f"{i} {'cats and dogs' if i % 2 else 'pots'}" for i in range(60)]
    acts = model.capture(contents, SITE)
    source = LabelledActivations("words", acts, torch.arange(60) % 2, tokens="all")
    found = Direction.fit(model, source, site=SITE, method="leace", held_out=source)
    assert found.erasure is not None
    with model.intervene(erase(*found.erasure, site=SITE)):
        after = model.capture(contents, SITE)
    text = acts.offsets[:, 0] < acts.offsets[:, 1]
    classes = (acts.documents % 2)[text]

    def gap(values: torch.Tensor) -> float:
        rows = values[text].double()
        return float((rows[classes == 1].mean(0) - rows[classes == 0].mean(0)).norm())

    assert gap(after[SITE]) < 1e-4 < 1e-2 * gap(acts[SITE])
    assert figures(found)["difference_left"] < 1e-4


def test_a_tokens_row_of_the_unembedding(model: Model) -> None:
    found = Direction.unembedding(model, "x", site=SITE)
    rows = model.loaded.module.get_output_embeddings().weight
    by_hand = rows[model.tokenizer.encode("x", special=False).ids[0]] - rows.mean(0)
    assert torch.allclose(found.vector, by_hand / by_hand.norm(), atol=1e-6)
    assert found.method == "unembedding"
    assert found.card.evidence == ()
    with pytest.raises(InputError, match="2 tokens"):
        Direction.unembedding(model, "xy", site=SITE)
    with pytest.raises(InputError, match="does not exist"):
        Direction.unembedding(model, "x", site="resid_post.3")
    with pytest.raises(InputError, match="no unembedding"):
        Direction.unembedding(tiny_model("bert", folder=Path(model.name)), "x", site=SITE)


def test_labelled_texts_give_what_labelled_activations_give(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "labelled.jsonl"
    rows: list[dict[str, Any]] = [
        {
            "id": f"d{i}",
            "text": f"{i} {'!!' if i % 3 == 0 else '..'}",
            "label": ["calm", "loud"][i % 3 == 0],
        }
        for i in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    by_text = Direction.fit(model, LabelledTexts.read_file(path), site=SITE)
    acts = model.capture([row["text"] for row in rows], SITE)
    classes = torch.tensor([int(row["label"] == "loud") for row in rows])
    by_acts = Direction.fit(
        model, LabelledActivations("a", acts, classes, ("calm", "loud")), site=SITE
    )
    assert similarity(by_text.basis, by_acts.basis) == pytest.approx(1, abs=1e-6)
    assert by_text.card.details["labels"] == ["calm", "loud"]


def test_the_command_on_the_card(
    model: Model, texts: ContrastingTexts, direction: Direction
) -> None:
    assert direction.card.command == (
        f"endoscope direction fit {texts.path} --model {model.name} --dtype float32 "
        f"--site {SITE} --method mean --tokens mean --seed 0 -o DIRECTION"
    )
    made = ContrastingTexts.of([("a!", "b."), ("c!", "d."), ("e!", "f."), ("g!", "h.")], name="x")
    assert "Python" in Direction.fit(model, made, site=SITE).card.command


def test_what_is_no_direction_is_refused(
    model: Model, direction: Direction, texts: ContrastingTexts, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="No method is called 'guess'"):
        Direction.fit(model, texts, site=SITE, method="guess")
    with pytest.raises(InputError, match="too few pairs"):
        Direction.fit(model, ContrastingTexts.of([("a!", "b.")], name="x"), site=SITE)
    with pytest.raises(InputError, match="subspace of 2"):
        _ = Direction.fit(model, texts, site=SITE, method="pca", rank=2).vector
    with pytest.raises(InputError, match="no direction at"):
        Direction.load(tmp_path / "nowhere")
    saved = direction.save(tmp_path / "d")
    card = json.loads((tmp_path / "d" / "card.json").read_text())
    (tmp_path / "d" / "card.json").write_text(json.dumps({**card, "details": {}}))
    with pytest.raises(InputError, match="lacks settings"):
        Direction.load(tmp_path / "d")
    assert saved.tensors_sha256


def test_its_repr_says_what_and_how_good(direction: Direction) -> None:
    assert repr(direction).startswith("Direction('digits': mean at resid_post.1, [1, 32]; auroc ")
