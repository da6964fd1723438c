"""`endoscope models`, `endoscope capture` and `endoscope join`, as users call them."""

import json
from pathlib import Path

import pytest
from tests.tiny import save_tiny

import endoscope
from endoscope.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"))


def run(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    """Call the command line; return its exit code."""
    monkeypatch.setattr("sys.argv", ["endoscope", *map(str, args)])
    with pytest.raises(SystemExit) as exit_info:
        main()
    code = exit_info.value.code
    return code if isinstance(code, int) else int(bool(code))


def test_capture_makes_a_store_and_goes_on_with_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
) -> None:
    data = tmp_path / "texts.jsonl"
    data.write_text('{"id": "a", "text": "日本"}\n\n{"text": "two"}\n', encoding="utf-8")
    command = ("capture", data, "--model", folder, "--sites", "resid_post.1", "-o")
    for _ in range(2):
        assert run(monkeypatch, *command, tmp_path / "acts", "--json") == 0
        out = json.loads(capsys.readouterr().out)
        assert (out["documents"], out["tokens"]) == (2, 1 + 6 + 1 + 3)
    store = endoscope.ActivationStore.open(tmp_path / "acts")
    assert store.load().document_ids == ["a", "3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"text": "ok"}\n{"text": 3}\n', "line 2"),
        ("x.jsonl", b'{"text": "ok"}\n{"te\n', "line 2: not valid JSON"),
        ("x.jsonl", b'{"text": "ok"}\n\xff\n', "line 2: invalid UTF-8"),
        ("x.jsonl", b"[]\n", "line 1: not a JSON object"),
        ("x.jsonl", b"\n\n", "holds no text"),
        ("x.jsonl", b'{"messages": [{"role": "user"}]}\n', "line 1"),
        ("x.jsonl", b'{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}\n', "line 2: its id is"),
        ("x.txt", b"fine\n\xff\n", "line 2: invalid UTF-8"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
    name: str,
    content: bytes,
    message: str,
) -> None:
    data = tmp_path / name
    data.write_bytes(content)
    command = ("capture", data, "--model", folder, "--sites", "resid_post.1", "-o", tmp_path / "a")
    assert run(monkeypatch, *command) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_site_that_is_not_there_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
) -> None:
    data = tmp_path / "x.txt"
    data.write_text("one\ntwo\n")
    command = ("capture", data, "--model", folder, "--sites", "resid_post.9", "-o", tmp_path / "a")
    assert run(monkeypatch, *command) == 2
    assert "0 to 2" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_parts_are_joined_into_what_one_capture_gives(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
) -> None:
    data = tmp_path / "texts.jsonl"
    lines = [{"id": f"t{i}", "text": "日本 one two"[: i % 9]} for i in range(11)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    # a batch a text: the same batches, so the same values to the last bit
    command = ("capture", data, "--model", folder, "--sites", "resid_post.1", "--batch-tokens", 1)
    assert run(monkeypatch, *command, "-o", tmp_path / "alone") == 0
    parts = [tmp_path / str(k) for k in (1, 2, 3)]
    for k, part in enumerate(parts, 1):
        assert run(monkeypatch, *command, "--part", f"{k}/3", "-o", part) == 0
    assert "part 3/3" in capsys.readouterr().out
    assert run(monkeypatch, "join", *parts[:2], "-o", tmp_path / "acts") == 2
    assert "Missing: part 3/3." in capsys.readouterr().err
    assert run(monkeypatch, "join", *reversed(parts), "-o", tmp_path / "acts", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["documents"], about["sites"]) == (11, ["resid_post.1"])
    alone, joined = (
        endoscope.ActivationStore.open(tmp_path / name).load() for name in ("alone", "acts")
    )
    assert joined.document_ids == [f"t{i}" for i in range(11)] == alone.document_ids
    assert joined["resid_post.1"].equal(alone["resid_post.1"])
    assert joined.token_ids.equal(alone.token_ids)
    assert joined.offsets.equal(alone.offsets)
    assert joined.documents.equal(alone.documents)


def test_more_parts_than_texts(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "x.txt"
    data.write_text("one\n")
    parts = [tmp_path / "1", tmp_path / "2"]
    for k, part in enumerate(parts, 1):
        command = ("capture", data, "--model", folder, "--sites", "resid_post.1", "-o", part)
        assert run(monkeypatch, *command, "--part", f"{k}/2") == 0
    assert run(monkeypatch, "join", *parts, "-o", tmp_path / "acts") == 0
    assert endoscope.ActivationStore.open(tmp_path / "acts").load().document_ids == ["1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--part", "3/2"), "'3/2' is no part. Give its number and how many there are: 1/2."),
        (("--engine", "vllm", "--device", "cpu"), "vLLM takes the device that it was built for."),
        (("--engine", "vllm", "--adapter", "x"), "The vLLM engine takes no adapter."),
        (("--engine", "vllm", "--vllm", "data_parallel_size=2"), "One engine is one replica"),
        (
            ("--engine", "vllm", "--vllm", "2"),
            "--vllm has no name, or no value. Give --vllm NAME=VALUE.",
        ),
        (("--engine", "vllm", "--vllm", "dtype=x"), "--vllm dtype is an option of Endoscope's"),
        (("--vllm", "seed=2"), "The transformers engine takes no seed."),
        (("--engine", "tensorrt"), "There is no engine 'tensorrt'"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    data = tmp_path / "x.txt"
    data.write_text("one\n")
    command = ("capture", data, "--model", folder, "--sites", "resid_post.1", "-o", tmp_path / "a")
    assert run(monkeypatch, *command, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "a").exists()


def test_models_show_and_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert run(monkeypatch, "models", "show", folder, "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["layers"], about["d_model"], about["architecture"]) == (3, 32, "llama")
    assert run(monkeypatch, "models", "list", "--json") == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert names == ["smollm2-135m-instruct", "gemma-3-270m"]
    assert run(monkeypatch, "models", "show", "nothing-here") == 2
    assert "gemma-3-270m" in capsys.readouterr().err
