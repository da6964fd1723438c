"""Opening models: from a folder, with an adapter, and every broken thing that users have."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.tiny import save_tiny, tiny_module, write_gguf

from endoscope.engine import open as open_model
from endoscope.errors import InputError
from endoscope.models import load, loading


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def make_adapter(target: Path, base: str, rank: int = 2) -> Path:
    import peft

    settings = peft.LoraConfig(
        r=rank, target_modules=["q_proj", "down_proj"], init_lora_weights=False
    )
    model = peft.get_peft_model(tiny_module("llama"), settings)
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(target)
    return target


def test_a_folder_opens_with_its_weights(folder: Path) -> None:
    loaded = load(folder, device="cpu")
    expected = tiny_module("llama").state_dict()
    for key, value in loaded.module.state_dict().items():
        assert torch.equal(value, expected[key])
    assert loaded.anatomy.n_layers == 3
    assert not loaded.module.training
    assert not any(p.requires_grad for p in loaded.module.parameters())


def test_dtype_is_the_one_asked_for(folder: Path) -> None:
    assert load(folder, device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    assert load(folder, device="cpu").dtype == torch.float32
    with pytest.raises(InputError, match="float32"):
        load(folder, dtype="int3")


def test_an_encoder_opens_too(tmp_path: Path) -> None:
    loaded = load(save_tiny(tmp_path / "bert", "bert"), device="cpu")
    assert not loaded.anatomy.causal


def test_an_adapter_changes_what_the_model_computes(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", str(folder))
    ids = torch.tensor([[1, 2, 3]])
    plain = load(folder, device="cpu")
    given = load(folder, adapter=adapter, device="cpu")
    found = load(adapter, device="cpu")  # the adapter says which model it is for
    assert given.adapter == adapter
    assert found.adapter == adapter
    assert (given.name, found.name) == (str(folder), str(adapter))
    out = [m.module(input_ids=ids).logits for m in (plain, given, found)]
    assert not torch.allclose(out[0], out[1])
    assert torch.equal(out[1], out[2])


def test_an_adapter_goes_on_a_gguf_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are converted first; what peft puts on them is what it puts on the original."""
    import peft

    monkeypatch.setenv("ENDOSCOPE_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "mine.gguf")
    adapter = make_adapter(tmp_path / "adapter", str(tmp_path / "mine.gguf"))
    ids = torch.tensor([[1, 2, 3, 200]])
    expected = peft.PeftModel.from_pretrained(tiny_module("llama"), str(adapter))(input_ids=ids)
    plain = open_model(tmp_path / "mine.gguf", device="cpu")
    given = open_model(tmp_path / "mine.gguf", adapter=adapter, device="cpu")
    found = open_model(adapter, device="cpu")
    for model in (given, found):
        logits = model.loaded.module(input_ids=ids).logits
        torch.testing.assert_close(logits, expected.logits)
        assert not torch.allclose(logits, plain.loaded.module(input_ids=ids).logits)
        assert model.fingerprint.base == plain.fingerprint.digest
        assert model.fingerprint.digest == given.fingerprint.digest
    assert (given.name, given.adapter) == (str(tmp_path / "mine.gguf"), str(adapter))
    assert (found.name, found.adapter) == (str(adapter), None)


def test_an_adapter_for_another_model_is_refused(tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", "")
    other = save_tiny(tmp_path / "other", "gpt2")
    with pytest.raises(InputError, match="does not fit"):
        load(other, adapter=adapter, device="cpu")
    with pytest.raises(InputError, match="which model it is for"):
        load(adapter, device="cpu")


def test_a_pickled_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", str(folder))
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(InputError, match="pickled"):
        load(folder, adapter=adapter, device="cpu")


class Exploit:
    ran = False

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return setattr, (Exploit, "ran", True)  # type: ignore[return-value]


def test_a_pickle_is_never_opened(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({"x": Exploit()}, copy / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pickle.*can run code"):
        load(copy, device="cpu")
    assert not Exploit.ran


@pytest.mark.parametrize("keep", [0, 4, 500, -1])
def test_a_truncated_weight_file_is_named(copy: Path, keep: int) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.safetensors is not a whole safetensors file"):
        load(copy, device="cpu")


def test_missing_weights_are_not_made_up(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks weights.*layers\.1\.mlp\.up_proj"):
        load(copy, device="cpu")


def test_code_in_a_model_folder_is_not_run(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text("raise SystemExit('code ran')")
    with pytest.raises(InputError, match="cannot be opened"):
        load(copy, device="cpu")


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"model_type": 3}'])
def test_a_broken_configuration_is_refused(copy: Path, broken: str) -> None:
    (copy / "config.json").write_text(broken)
    with pytest.raises(InputError, match="cannot be opened"):
        load(copy, device="cpu")


def test_names_that_mean_nothing_say_what_would(tmp_path: Path) -> None:
    for name in ("smolm", str(tmp_path / "nowhere"), str(tmp_path / "no.gguf")):
        with pytest.raises(InputError, match=r"gemma-3-270m.*hub id"):
            load(name)
    with pytest.raises(InputError, match=r"no config\.json"):
        load(tmp_path)


def test_a_gguf_file_opens_with_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDOSCOPE_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "mine.gguf")
    loaded = load(tmp_path / "mine.gguf", device="cpu")
    ids = torch.tensor([[1, 2, 3, 200]])
    expected = tiny_module("llama")(input_ids=ids).logits
    torch.testing.assert_close(loaded.module(input_ids=ids).logits, expected)
    assert loaded.folder.is_relative_to(tmp_path / "cache")
    assert load(tmp_path / "mine.gguf", device="cpu").folder == loaded.folder


def test_a_broken_gguf_file_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(InputError, match="cannot be read as GGUF"):
        load(broken)


def test_a_hub_id_goes_to_the_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import huggingface_hub

    asked: list[str] = []

    def download(name: str, **options: object) -> str:
        asked.append(name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load("owner/name", device="cpu").folder == folder
    assert asked == ["owner/name"]

    def fails(name: str, **options: object) -> str:
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(InputError, match="hub"):
        load("owner/name", device="cpu")


def test_an_impossible_device_is_refused() -> None:
    with pytest.raises(InputError, match="cpu"):
        loading._device("cuda:99")
    with pytest.raises(InputError, match="cpu"):
        loading._device("abacus")
