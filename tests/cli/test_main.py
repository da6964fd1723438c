"""What is no verb's own: the version, and what happens when output has nowhere to go."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import endoscope
from endoscope.cli.main import app, main

ENDOSCOPE = [sys.executable, "-c", "from endoscope.cli.main import main; main()"]
LIST = [*ENDOSCOPE, "models", "list"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_standard_output_on_a_full_disk_is_one_clear_line(options: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*LIST, *options], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "endoscope: [Errno 28] No space left on device\n"


# `endoscope guard` with a scorer that needs no model.
GUARD = [
    sys.executable,
    "-c",
    """
import endoscope.guard as room
from tests.scorers import NAMES, PatternScorer
room.Guard.load = lambda policy, **o: room.Guard(
    policy, PatternScorer(dict.fromkeys(policy.labels, "$^") | NAMES)
)
from endoscope.cli.main import main
main()
""",
    "guard",
]


@pytest.mark.parametrize("command", [LIST, [*LIST, "--json"], [*GUARD, "-"], [*GUARD, "--text"]])
def test_of_a_reader_that_has_gone_nothing_is_said(command: list[str]) -> None:
    lines = b'{"id": 1, "text": "Mary Jones"}\n' * 5000
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=root,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(lines)
            process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_ctrl_c_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rich.table.Table.add_row", interrupted)
    monkeypatch.setattr("sys.argv", ["endoscope", "models", "list"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert capsys.readouterr().err == "endoscope: interrupted\n"


def test_the_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"endoscope {endoscope.__version__}\n")
    assert endoscope.__version__[0].isdigit()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("guard --bogus", "No such option: --bogus. `endoscope guard --help` shows"),
        ("capture", "Missing argument 'data'. `endoscope capture --help` shows"),
        ("nonsense", "No such command 'nonsense'"),
        ("gaurd", "Did you mean 'guard'? `endoscope --help` shows"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_one_line(command: str, says: str) -> None:
    ran = subprocess.run([*ENDOSCOPE, *command.split()], capture_output=True, text=True)
    assert ran.returncode == 2
    assert not ran.stdout
    assert ran.stderr.count("\n") == 1
    assert says in ran.stderr
