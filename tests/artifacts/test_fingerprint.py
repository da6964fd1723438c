import os
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from endoscope.artifacts import Fingerprint, TransferWarning, check_model, fingerprint_of, hashing
from endoscope.artifacts.hashing import hash_config, hash_tensor, hash_weights
from endoscope.errors import InputError

CONFIG = {"model_type": "llama", "hidden_size": 4, "architectures": ["LlamaForCausalLM"]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENDOSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fingerprints"


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator).bfloat16()
        for name, shape in {"a": (3, 4), "b.weight": (4,), "c": (), "empty": (0, 4)}.items()
    }


def test_same_model_in_another_dtype_under_another_name_is_the_same(tmp_path, weights):
    save_file(weights, tmp_path / "model.safetensors")
    on_disk = fingerprint_of(
        CONFIG | {"_name_or_path": "one", "dtype": "bfloat16", "transformers_version": "5.16"},
        [tmp_path / "model.safetensors"],
        dtype="bfloat16",
        tokenizer=b"one",
    )
    loaded = {name: tensor.float() for name, tensor in reversed(weights.items())}
    in_memory = fingerprint_of(
        {"text": None, "use_cache": True, **CONFIG}, loaded, dtype="float32", tokenizer=b"two"
    )
    assert on_disk.relation(in_memory) == "same"
    assert on_disk.digest == in_memory.digest
    assert (on_disk.dtype, in_memory.dtype) == ("bfloat16", "float32")
    assert on_disk.tokenizer != in_memory.tokenizer


def test_spread_over_files_does_not_matter(tmp_path, weights):
    files = []
    for i, names in enumerate((("c", "a"), ("empty", "b.weight"))):
        files.append(tmp_path / f"{i}.safetensors")
        save_file({name: weights[name] for name in names}, files[-1])
    assert hash_weights(files) == hash_weights(weights) == hash_weights(files[::-1])


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w | {"a": w["a"] + 1},
        lambda w: w | {"a": w["a"].reshape(4, 3)},
        lambda w: {("z" if name == "a" else name): tensor for name, tensor in w.items()},
        lambda w: {name: tensor for name, tensor in w.items() if name != "empty"},
        lambda w: w | {"a": w["a"].flip(0)},
        lambda w: w | {"a": -w["a"]},
    ],
)
def test_any_other_value_shape_or_name_is_foreign(weights, change):
    mine, other = fingerprint_of(CONFIG, weights), fingerprint_of(CONFIG, change(weights))
    assert mine.relation(other) == "foreign"


def test_another_configuration_is_foreign(weights):
    mine = fingerprint_of(CONFIG, weights)
    for other in (CONFIG | {"hidden_size": 8}, CONFIG | {"architectures": ["Other"]}):
        assert mine.relation(fingerprint_of(other, weights)) == "foreign"


def test_volatile_entries_are_left_out_at_every_depth():
    assert hash_config({"text": {"a": 1, "dtype": "x"}, "layers": [{"dtype": "y"}]}) == hash_config(
        {"layers": [{}], "text": {"a": 1, "_attn_implementation": "sdpa"}}
    )
    twelve = {i: f"label {i}" for i in range(12)}  # integer keys come back from JSON as text
    assert hash_config({"id2label": twelve}) == hash_config(
        {"id2label": {str(i): label for i, label in twelve.items()}}
    )


@settings(deadline=None)
@given(st.lists(st.floats(width=16), max_size=20))
def test_exact_copies_in_wider_dtypes_hash_alike(values):
    half = torch.tensor(values, dtype=torch.float16)
    if not half.isnan().any():  # the bits of a NaN may change
        assert hash_tensor(half) == hash_tensor(half.float())


def test_chunks_do_not_show(monkeypatch):
    tensor = torch.arange(1000, dtype=torch.bfloat16).reshape(10, 100).T
    whole = hash_tensor(tensor)
    monkeypatch.setattr(hashing, "_CHUNK", 7)
    assert hash_tensor(tensor) == whole
    assert hash_tensor(torch.arange(20)) != hash_tensor(torch.arange(20).int())
    assert len({hash_tensor(torch.tensor(v)) for v in (True, 1, 1.0)}) == 3


def test_files_are_hashed_once(tmp_path, cache, weights, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    first = hash_weights([path])
    hashed = []
    monkeypatch.setattr(hashing, "hash_tensor", lambda t: hashed.append(t) or hash_tensor(t))
    assert hash_weights([path]) == first
    assert not hashed

    save_file(weights | {"a": weights["a"] + 1}, path)
    os.utime(path, ns=(1, 1))
    assert hash_weights([path]) != first
    assert len(hashed) == len(weights)


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"format": 1}', b"\xff"])
def test_broken_cache_is_made_again(tmp_path, cache, weights, broken):
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    first = hash_weights([path])
    [entry] = cache.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(broken)
    assert hash_weights([path]) == first
    assert entry.read_bytes() == whole


def test_no_cache_folder_is_no_obstacle(tmp_path, weights, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENDOSCOPE_CACHE", str(tmp_path / "file"))
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    assert hash_weights([path]) == hash_weights(weights)


def test_damaged_and_missing_files_are_refused(tmp_path, weights):
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        hash_weights([path])
    save_file(weights, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        hash_weights([path])


def test_derived_models_declare_their_base(weights):
    base = fingerprint_of(CONFIG, weights)
    adapted = base.derive("adapter brand", {"lora_A": torch.ones(2, 4)})
    other = base.derive("adapter other", {"lora_A": torch.zeros(2, 4)})
    assert base.relation(adapted) == adapted.relation(base) == "derived"
    assert adapted.relation(other) == "foreign"
    assert adapted.relation(base.derive("again", {"lora_A": torch.ones(2, 4)})) == "same"
    assert "adapter brand" in str(adapted)


def test_json_round_trip(weights):
    mine = fingerprint_of(CONFIG, weights, dtype="float32").derive("edit", {"v": torch.ones(3)})
    again = Fingerprint.model_validate_json(mine.model_dump_json())
    assert again == mine
    assert hash(again) == hash(mine)


def test_check_model(weights):
    base = fingerprint_of(CONFIG, weights)
    derived = base.derive("edit", {"v": torch.ones(3)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_model(base, base, "The probe p") == "same"
    with pytest.warns(TransferWarning, match="The probe p .* evidence is not valid"):
        assert check_model(base, derived, "The probe p") == "derived"
    foreign = fingerprint_of(CONFIG, {})
    with pytest.raises(InputError, match=f"The probe p .*{base.short}.*{foreign.short}"):
        check_model(base, foreign, "The probe p")
