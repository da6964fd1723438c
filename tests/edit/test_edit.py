"""An edit on disk: it comes back as it was, whole or not at all, and only onto its own model."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import endoscope
from endoscope.artifacts import Card, DataRef, read_card
from endoscope.cli.main import app
from endoscope.diff import Pair
from endoscope.edit import Change, Edit
from endoscope.edit.forms.weights import ROUNDED
from endoscope.edit.verify.baselines import randomised
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions import Ablate, Add, Intervention
from tests.edit.test_forms import constant, linear, same, vectors
from tests.tiny import save_tiny


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return endoscope.open(save_tiny(tmp_path / "model"))


def card(model: Model) -> Card:
    return Card(
        kind="edit",
        name="no sea",
        model=model.fingerprint,
        model_name=model.name,
        data=DataRef(name="nothing", sha256="0" * 64, rows=0),
        command="made from Python",
    )


@pytest.mark.parametrize("form", ["live", "adapter", "weights"])
def test_what_is_written_comes_back(model: Model, tmp_path: Path, form: str) -> None:
    edit = Edit(card(model), linear("mlp_out.1"))
    edit.write(model, tmp_path / "edited", form=form)
    again = Edit.load(tmp_path / "edited")
    assert list(again.interventions) == list(edit.interventions)
    assert again.card.details["form"] == form
    assert "no sea" in repr(again)
    assert "mlp_out.1" in repr(again)
    if form == "live":
        with pytest.raises(InputError, match=r"config.json|not a model"):
            endoscope.open(tmp_path / "edited")
    else:
        same(model, endoscope.open(tmp_path / "edited"), list(edit.interventions))


def test_changes_of_matrices_come_back_and_have_no_live_form(model: Model, tmp_path: Path) -> None:
    change = Change(torch.randn(32, 2).double(), torch.randn(2, 48).double())
    edit = Edit(card(model), changes={"model.layers.1.mlp.down_proj": change})
    with pytest.raises(InputError, match=r"nothing at a site.*--form adapter"):
        edit.write(model, tmp_path / "edited")
    with pytest.raises(InputError, match="no form 'gguff'"):
        edit.write(model, tmp_path / "edited", form="gguff")
    assert not (tmp_path / "edited").exists()
    edit.write(model, tmp_path / "edited", form="weights")
    (again,) = Edit.load(tmp_path / "edited").changes.values()
    assert torch.equal(again.outer, change.outer)
    assert torch.equal(again.inner, change.inner)
    before = model.loaded.module.get_submodule("model.layers.1.mlp.down_proj").weight
    edited = endoscope.open(tmp_path / "edited")
    after = edited.loaded.module.get_submodule("model.layers.1.mlp.down_proj").weight
    torch.testing.assert_close(after.double(), before.double() + change.outer @ change.inner)


def test_an_edit_of_another_model_is_refused(model: Model, tmp_path: Path) -> None:
    other = endoscope.open(save_tiny(tmp_path / "other", seed=1))
    with pytest.raises(InputError, match="made with another model"):
        Edit(card(other), linear("mlp_out.1")).write(model, tmp_path / "edited")
    assert not (tmp_path / "edited").exists()


def test_an_edit_of_nothing_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="changes nothing"):
        Edit(card(model), [])


def test_what_is_not_exact_writes_nothing(model: Model, tmp_path: Path) -> None:
    edit = Edit(card(model), [Add(site="mlp_out.1", vector=vectors(1)[0], strength=1.0)])
    with pytest.raises(InputError, match="no bias"):
        edit.write(model, tmp_path / "edited", form="weights")
    assert not (tmp_path / "edited").exists()
    edit.write(model, tmp_path / "edited")  # live it is


@pytest.mark.parametrize("before", [True, False])
def test_a_full_disk_leaves_nothing_half_written(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    edit = Edit(card(model), linear("mlp_out.1"))
    weights = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    if before:
        usage = shutil.disk_usage(tmp_path)._replace(free=10)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    else:

        def fill(*args: Any, **kwargs: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", fill)
    with pytest.raises(InputError, match="disk is full"):
        edit.write(model, tmp_path / "edited", form="weights")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} == weights


def test_an_edited_model_declares_what_it_was_made_of(model: Model, tmp_path: Path) -> None:
    for form in ("adapter", "weights"):
        Edit(card(model), linear("mlp_out.1")).write(model, tmp_path / form, form=form)
        edited = endoscope.open(tmp_path / form)
        assert edited.fingerprint.relation(model.fingerprint) == "derived"
        Pair.of(model, edited)  # and may be compared with it
    assert "no sea" in str(edited.fingerprint)
    assert read_card(tmp_path / "weights", "edit").model == model.fingerprint


def test_a_damaged_edit_is_refused(model: Model, tmp_path: Path) -> None:
    Edit(card(model), [Ablate(site="mlp_out.1", basis=vectors(1))]).write(model, tmp_path / "e")
    (tmp_path / "e" / "edit" / "interventions.json").write_text("[")
    with pytest.raises(InputError, match=r"interventions.json.*Make it again"):
        Edit.load(tmp_path / "e")
    with pytest.raises(InputError, match="no edit"):
        Edit.load(tmp_path / "model")


@pytest.mark.parametrize("form", ["adapter", "weights"])
def test_an_edit_is_taken_back(model: Model, tmp_path: Path, form: str) -> None:
    Edit(card(model), linear("mlp_out.1")).write(model, tmp_path / "edited", form=form)
    words = ["edit", str(tmp_path / "edited"), "--undo", "-o", str(tmp_path / "again")]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    texts = (["abc"] * 2, ["def", " hello"])
    before, edited, again = (
        one.log_likelihood(*texts)
        for one in (model, endoscope.open(tmp_path / "edited"), endoscope.open(tmp_path / "again"))
    )
    assert edited != pytest.approx(before, abs=1e-2)
    assert again == pytest.approx(before, abs=1e-4)
    assert "undone: " in Edit.load(tmp_path / "again").name


def test_what_is_live_has_nothing_to_take_back(model: Model, tmp_path: Path) -> None:
    Edit(card(model), linear("mlp_out.1")).write(model, tmp_path / "live")
    with pytest.raises(InputError, match=r"no weight was changed.*Open the model itself"):
        Edit.load(tmp_path / "live").undone(model, "")


@pytest.mark.parametrize(
    ("first", "second"),
    [("adapter", "weights"), ("weights", "adapter"), ("weights", "live"), ("live", "weights")],
)
def test_another_form_in_the_same_folder_is_not_mixed_up_with_it(
    model: Model, tmp_path: Path, first: str, second: str
) -> None:
    out = tmp_path / "edited"
    Edit(card(model), linear("mlp_out.2")).write(model, out, form=first)
    (out / "verify.json").write_text("of the edit that was there")
    (out / "mine").mkdir()
    (out / "mine" / "notes.txt").write_text("kept")
    edit = Edit(card(model), linear("mlp_out.1"))
    edit.write(model, out, form=second)
    assert not (out / "verify.json").exists()
    assert (out / "mine" / "notes.txt").read_text() == "kept"
    if second == "live":
        assert not list(out.glob("*.safetensors"))
    else:
        same(model, endoscope.open(out), list(edit.interventions))


def test_what_rounding_leaves_of_a_change_is_on_the_card(model: Model, tmp_path: Path) -> None:
    change = Change(1e-3 * torch.randn(32, 1).double(), torch.randn(1, 48).double())
    name = "model.layers.1.mlp.down_proj"
    whole = tmp_path / "whole"
    Edit(card(model), changes={name: change}).write(model, whole, form="weights")
    assert ROUNDED not in read_card(whole).details
    model.loaded.module.bfloat16().save_pretrained(tmp_path / "half")
    model.tokenizer.hf.save_pretrained(tmp_path / "half")
    half = endoscope.open(tmp_path / "half", dtype="float32")
    out = tmp_path / "edited"
    Edit(card(half), changes={name: change}).write(half, out, form="weights")
    edited = endoscope.open(out, dtype="float32")
    before, after = (
        one.loaded.module.get_submodule(name).weight.double() for one in (half, edited)
    )  # type: ignore[union-attr]
    added = change.outer @ change.inner
    lost = float((after - before - added).norm() / added.norm())  # type: ignore[operator,union-attr]
    assert 1e-3 < lost < 1
    assert read_card(out).details[ROUNDED] == pytest.approx(lost, rel=0.05)


@pytest.mark.parametrize("one", [*linear("mlp_out.1"), *constant("mlp_out.1")])
def test_drawn_at_random_no_intervention_is_itself(model: Model, one: Intervention) -> None:
    (drawn,) = randomised(Edit(card(model), (one,)), seed=0).interventions
    assert type(drawn) is type(one)
    assert drawn != one
    assert drawn.site == one.site
