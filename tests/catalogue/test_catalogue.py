"""A catalogue of a tiny model: recorded, checked, drifted, exported."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

import endoscope
from endoscope.artifacts import read_card
from endoscope.behaviours import Behaviour
from endoscope.catalogue import Bound, Catalogue, Entry, check, record, to_markdown, to_safetensors
from endoscope.cli.main import app
from endoscope.directions import ContrastingTexts, Direction
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions import add
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("catalogue") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return endoscope.open(folder)


def behaviour() -> Behaviour:
    """How likely the model holds "a" against "b"."""
    items = [
        {"id": f"i{n}", "prompt": f"{n} or", "matching": "a", "others": ["b"]} for n in range(8)
    ]
    return Behaviour.model_validate(
        {
            "name": "first",
            "description": "Says a.",
            "items": items,
            "scorer": {"kind": "choices", "form": "free"},
        }
    )


def test_a_behaviour_is_kept_and_a_model_that_has_not_changed_passes(
    model: Model, tmp_path: Path
) -> None:
    card = record(tmp_path / "first", model, behaviour(), note="found by a diff")
    (name, read), *rest = Catalogue(tmp_path).cards()
    assert (name, read, rest) == ("first", card, [])
    (found,) = check(Catalogue(tmp_path), model)
    assert found.holds
    assert found.relation == "same"
    assert found.now.value == found.before == card.evidence[0].value


def test_a_model_that_has_drifted_does_not_pass(model: Model, tmp_path: Path) -> None:
    record(tmp_path / "first", model, behaviour())
    row = model.loaded.anatomy.unembedding
    a, b = (model.tokenizer.encode(one, special=False).ids[-1] for one in ("a", "b"))
    push = add((row[a] - row[b]).float(), 20.0, site=f"resid_post.{model.n_layers - 1}")
    with model.intervene(push):
        (found,) = check(Catalogue(tmp_path), model)
    assert not found.holds
    assert found.now.value > found.before
    assert found.relation == "derived"


def test_the_history_goes_on(model: Model, tmp_path: Path) -> None:
    record(tmp_path / "first", model, behaviour(), bound=Bound(at_most=0.9))
    record(tmp_path / "first", model, behaviour(), stage="mitigated", note="ablated")
    entry = Entry.of(read_card(tmp_path / "first"))
    assert [step.stage for step in entry.history] == ["seen", "mitigated"]
    assert entry.stage == "mitigated"
    assert entry.bound == Bound(at_most=0.9), "what was agreed goes on"
    page = to_markdown(Catalogue(tmp_path))
    assert "| behaviour | model | measured | bound | seen | explained | mitigated |" in page
    assert "## first: first" in page


def test_export_has_all_tensors_and_cards(model: Model, tmp_path: Path) -> None:
    pairs = [(f"{n} is a", f"{n} is b") for n in range(8)]
    source = ContrastingTexts.of(pairs, name="letters")
    direction = Direction.fit(model, source, site="resid_post.1")
    direction.save(tmp_path / "cards" / "directions" / "letters")
    record(tmp_path / "cards" / "first", model, behaviour())
    to_safetensors(Catalogue(tmp_path / "cards"), tmp_path / "all.safetensors")
    with safe_open(tmp_path / "all.safetensors", framework="pt") as file:
        assert set(file.metadata()) == {"first", "directions/letters"}
        found = file.get_tensor("directions/letters/basis")
        assert json.loads(file.metadata()["first"])["kind"] == "behaviour"
    torch.testing.assert_close(found, direction.basis)
    (name, again), *_ = Catalogue(tmp_path / "cards").directions()
    assert name == "directions/letters"
    torch.testing.assert_close(again.basis, direction.basis)


def test_the_command_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(behaviour().to_yaml())
    cards, model = str(tmp_path / "cards"), ["--model", str(folder)]
    run = CliRunner().invoke
    made = run(app, ["catalogue", "record", str(tmp_path / "first.yaml"), *model, "-o", cards])
    assert made.exit_code == 0, made.output
    listed = json.loads(run(app, ["catalogue", "list", cards, "--json"]).stdout)
    assert [(one["name"], one["stage"]) for one in listed] == [("first", "seen")]
    assert "Says a." in run(app, ["catalogue", "show", cards, "first"]).stdout
    assert run(app, ["catalogue", "check", cards, *model]).exit_code == 0
    bound = ["--at-most", "0.0001"]
    run(app, ["catalogue", "record", str(tmp_path / "first.yaml"), *model, *bound, "-o", cards])
    broken = run(app, ["catalogue", "check", cards, *model, "--json"])
    assert broken.exit_code == 1
    assert json.loads(broken.stdout)["holds"] is False
    for name in ("page.md", "all.safetensors"):
        assert run(app, ["catalogue", "export", cards, "-o", str(tmp_path / name)]).exit_code == 0
        assert (tmp_path / name).stat().st_size > 100


def test_what_cannot_be_done(model: Model, tmp_path: Path) -> None:
    run = CliRunner().invoke
    with pytest.raises(InputError, match="no catalogue"):
        Catalogue(tmp_path / "none")
    with pytest.raises(InputError, match="has no x"):
        Catalogue(tmp_path).card("x")
    command = ["catalogue", "record", "sea", "--model", "x", "--stage", "done", "-o", "c"]
    with pytest.raises(InputError, match="no stage"):
        run(app, command, catch_exceptions=False)
    command = ["catalogue", "export", str(tmp_path), "-o", str(tmp_path / "x.txt")]
    with pytest.raises(InputError, match=r"\.md"):
        run(app, command, catch_exceptions=False)


def test_it_stays_where_it_stands(model: Model, tmp_path: Path) -> None:
    record(tmp_path / "first", model, behaviour(), stage="explained")
    record(tmp_path / "first", model, behaviour())
    stages = [step.stage for step in Entry.of(read_card(tmp_path / "first")).history]
    assert stages == ["explained", "explained"]


def test_a_bound_is_not_taken_over_by_another_behaviour(model: Model, tmp_path: Path) -> None:
    record(tmp_path / "first", model, behaviour(), bound=Bound(at_most=0.9))
    other = behaviour().model_copy(update={"description": "Says a, again."})
    with pytest.raises(InputError, match="is measured otherwise"):
        record(tmp_path / "first", model, other)
    record(tmp_path / "first", model, other, bound=Bound(at_most=0.8))
    assert Entry.of(read_card(tmp_path / "first")).bound == Bound(at_most=0.8)


def test_what_is_on_the_card_makes_it_again(folder: Path, model: Model, tmp_path: Path) -> None:
    """A behaviour of one's own is kept beside its card, and the command names it."""
    card = record(tmp_path / "c" / "first", model, behaviour(), bound=Bound(at_most=0.9))
    assert Behaviour.load(str(tmp_path / "c" / "first" / "behaviour.yaml")) == behaviour()
    done = CliRunner().invoke(app, card.command.split()[1:])
    assert done.exit_code == 0, done.output
    assert "bound" in done.output
    again = read_card(tmp_path / "c" / "first")
    assert again.evidence == card.evidence
    assert again.model == model.fingerprint


def test_a_bound_that_does_not_hold_is_said(folder: Path, model: Model, tmp_path: Path) -> None:
    record(tmp_path / "c" / "first", model, behaviour(), bound=Bound(at_most=0.9))
    spec = str(tmp_path / "c" / "first" / "behaviour.yaml")
    command = ["catalogue", "record", spec, "--model", str(folder), "-o", str(tmp_path / "c")]
    done = CliRunner().invoke(app, [*command, "--at-most", "0.0001"])
    assert done.exit_code == 0
    assert "it does not hold" in done.output


def test_an_empty_catalogue_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for write in (to_markdown, lambda found: to_safetensors(found, tmp_path / "x.safetensors")):
        with pytest.raises(InputError, match="has no cards"):
            write(Catalogue(tmp_path / "empty"))


def test_a_file_is_no_catalogue(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file, not a folder"):
        record(tmp_path / "file" / "first", model, behaviour())
