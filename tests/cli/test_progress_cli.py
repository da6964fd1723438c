"""The progress bar: for people who look, and for nobody else."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from tests.tiny import save_tiny

from endoscope.cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

COMMANDS = {
    "capture": [
        "capture",
        "data.jsonl",
        "--model",
        "model",
        "--sites",
        "resid_post.0",
        "-o",
        "acts",
    ],
    "fit": [
        "probe",
        "fit",
        "data.jsonl",
        "--model",
        "model",
        "--sites",
        "resid_post.0",
        "-o",
        "new",
    ],
    "eval": ["probe", "eval", "probe", "data.jsonl"],
}
ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, data, and a probe."""
    folder = tmp_path_factory.mktemp("progress")
    save_tiny(folder / "model")
    rows = [{"id": i, "text": f"{i % 7} {'.!'[i % 2]}", "label": "ab"[i % 2]} for i in range(150)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(patch, [*COMMANDS["fit"][:-1], "probe", "--json"])
    return folder


@pytest.fixture(autouse=True)
def place(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with all that, for one test; a terminal that can show a bar."""
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def run(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["endoscope", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, *streams: str) -> Iterator[list[str]]:
    """Make standard output or error a terminal; yields what it has shown once that is over."""
    ours, theirs = os.openpty()
    shown: list[str] = []

    def watch() -> None:  # all the time: a terminal that nobody reads fills up
        parts = []
        try:
            while part := os.read(ours, 1 << 16):
                parts.append(part)
        except OSError:  # how Linux says that the other side has closed
            pass
        shown.append(b"".join(parts).decode())

    watcher = Thread(target=watch)
    watcher.start()
    with open(theirs, "w", encoding="utf-8") as file, monkeypatch.context() as patch:  # noqa: PTH123
        for stream in streams:
            patch.setattr(sys, stream, file)
        yield shown
    watcher.join()
    os.close(ours)


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_person_at_a_terminal_sees_a_bar(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, "stdout", "stderr") as shown:
        run(monkeypatch, COMMANDS[verb])
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", shown[0])
    assert re.search(r"reading( tokens)? ━+ +\d+/\d{3} ", plain, re.IGNORECASE)


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("piped", ["stdout", "stderr", "both"])
def test_a_pipe_gets_no_bar(
    verb: str,
    piped: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    streams = [name for name in ("stdout", "stderr") if piped not in (name, "both")]
    with terminal(monkeypatch, *streams) as shown:
        run(monkeypatch, COMMANDS[verb])
    text = "".join((*shown, *capsys.readouterr()))
    assert "reading" not in text.lower()
    if piped != "stderr":  # tables have colours, where standard output is a terminal
        assert ESCAPE not in text


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_machine_gets_no_bar_even_at_a_terminal(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch, "stdout", "stderr") as shown:
        run(monkeypatch, [*COMMANDS[verb], "--json"])
    (text,) = shown
    assert json.loads(text.strip().splitlines()[-1])
    assert ESCAPE not in text
