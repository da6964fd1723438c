"""What users have in their files, through `endoscope capture` and `endoscope probe`.

Either the work is right, or it ends with exit code 2 and one line, without the user's text.
"""

import json
import sys
from pathlib import Path

import pytest
from tests.tiny import save_tiny

import endoscope
from endoscope.cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

PRIVATE = "Zanzibar"
READABLE = {
    "nuls": f"{PRIVATE}\0\0 \0",
    "right to left": "\u202bשלום עולם\u202c مرحبا",
    "controls": "\r\n\x1b[31m\x08\ufeff\u2028",
    "beyond the BMP": "👩‍👩‍👧 𠮷野家",
}
LONG = f"{PRIVATE} " * 112_000  # 1 MB


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and a probe of documents and one of spans."""
    folder = tmp_path_factory.mktemp("texts")
    save_tiny(folder / "model")
    for kind in ("label", "spans"):
        (folder / "data.jsonl").write_bytes(lines(kind))
        with pytest.MonkeyPatch.context() as patch:
            assert run(patch, *fit(folder, folder / "data.jsonl", folder / kind)) == 0
    return folder


def lines(kind: str, *texts: str) -> bytes:
    """Labelled documents, these texts first."""
    rows = []
    for i, text in enumerate((*texts, *(f"{i % 7} {'.!'[i % 2]}" for i in range(80)))):
        mark = {"label": "ab"[i % 2], "spans": [[0, 1, "X"]] if text else []}[kind]
        rows.append({"id": i, "text": text, kind: mark})
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def capture(folder: Path, data: Path, out: Path) -> tuple[object, ...]:
    return "capture", data, "--model", folder / "model", "--sites", "resid_post.0", "-o", out


def fit(folder: Path, data: Path, out: Path) -> tuple[object, ...]:
    return "probe", "fit", data, "--model", folder / "model", "--sites", "resid_post.0", "-o", out


def evaluate(folder: Path, data: Path, out: Path) -> tuple[object, ...]:
    kind = "spans" if b'"spans"' in data.read_bytes() else "label"
    return "probe", "eval", folder / kind, data


COMMANDS = pytest.mark.parametrize("command", [capture, fit, evaluate])


def run(monkeypatch: pytest.MonkeyPatch, *command: object) -> int:
    monkeypatch.setattr(sys, "argv", ["endoscope", *map(str, command), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else int(bool(ended.value.code))


@COMMANDS
@pytest.mark.parametrize("kind", ["label", "spans"])
def test_odd_texts_are_read_as_they_are(
    command,
    kind: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "data.jsonl").write_bytes(lines(kind, *READABLE.values()))
    assert run(monkeypatch, *command(folder, tmp_path / "data.jsonl", tmp_path / "out")) == 0
    done = json.loads(capsys.readouterr().out)
    if command is capture:
        store = endoscope.ActivationStore.open(tmp_path / "out")
        for number, (name, text) in enumerate(READABLE.items()):
            acts = store.document(str(number))
            assert bytes_of(acts.token_ids.tolist()) == text.encode(), name
            assert acts.offsets[:, 1].max() == len(text), name
    else:
        assert done["evidence"]


def bytes_of(ids: list[int]) -> bytes:
    from tests.tiny import byte_tokenizer
    from tokenizers import decoders

    tokens = byte_tokenizer().convert_ids_to_tokens(ids[1:])  # the first is BOS
    return decoders.ByteLevel().decode(tokens).encode()


@COMMANDS
def test_an_empty_text(
    command,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without spans it is a fine text; there is nothing in it to have a label."""
    (tmp_path / "spans.jsonl").write_bytes(lines("spans", ""))
    assert run(monkeypatch, *command(folder, tmp_path / "spans.jsonl", tmp_path / "out")) == 0
    capsys.readouterr()
    if command is not capture:
        (tmp_path / "label.jsonl").write_bytes(lines("label", ""))
        assert run(monkeypatch, *command(folder, tmp_path / "label.jsonl", tmp_path / "l")) == 2
        assert "line 1: there is nothing to judge" in capsys.readouterr().err


@COMMANDS
@pytest.mark.parametrize(
    ("first", "message"),
    [
        (json.dumps({"id": "x", "text": LONG, "label": "a"}).encode(), "this model reads 512"),
        (b'{"id": "x", "text": "%s \xff", "label": "a"}' % PRIVATE.encode(), "line 1"),
        (b'{"id": "x", "text": "%s' % PRIVATE.encode(), "line 1"),
        (b'{"id": "x", "text": "%s \\ud800", "label": "a"}' % PRIVATE.encode(), "lone surrogate"),
        (b'"%s"' % PRIVATE.encode(), "line 1"),
        (b"\0" * 1_000_000, "line 1"),
        (b"[" * 1_000_000, "line 1"),
    ],
    ids=["1 MB", "no UTF-8", "half a line", "a surrogate", "no object", "NULs", "nested"],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    command,
    first: bytes,
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "data.jsonl").write_bytes(first + b"\n" + lines("label"))
    assert run(monkeypatch, *command(folder, tmp_path / "data.jsonl", tmp_path / "out")) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert message in error
    assert len(error.splitlines()) == 1
    assert error.startswith("endoscope: ")
    assert PRIVATE not in error
    if command is not capture:  # whose store keeps what was read, to go on with
        assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]
