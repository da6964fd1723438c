"""What is no verb's own: the version, and what happens when output has nowhere to go."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import endoscope
from endoscope.cli.main import app

LIST = [sys.executable, "-c", "from endoscope.cli.main import main; main()", "models", "list"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_standard_output_on_a_full_disk_is_one_clear_line(options: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*LIST, *options], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "endoscope: [Errno 28] No space left on device\n"


def test_of_a_reader_that_has_gone_nothing_is_said() -> None:
    with subprocess.Popen(
        [*LIST, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode in (1, 141)  # which: whether Typer or we saw it first


def test_the_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"endoscope {endoscope.__version__}\n")
    assert endoscope.__version__[0].isdigit()
