"""A run that was killed goes on: `endoscope guard` from file to file, in processes of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The command with a scorer that needs no model. `moment` says at what the process kills itself.
COMMAND = """
import os, signal, sys
from typer import Typer
from tests.scorers import NAMES, PatternScorer
from endoscope.cli.guard import guard
from endoscope.guard import Guard, partial

moment, *arguments = sys.argv[1:]
def kill():
    os.kill(os.getpid(), signal.SIGKILL)

class Killed(PatternScorer):
    def score(self, texts):
        if moment == "scoring" and self.calls == 2:
            kill()
        return super().score(texts)

class Torn(partial.Partial):
    def write(self, data):
        self.count = getattr(self, "count", 0) + 1
        if moment == "writing" and self.count == 3:
            super().write(data[: len(data) // 2 + 7])
            kill()
        super().write(data)

partial.Partial = Torn
Guard.load = lambda policy, **options: Guard(policy, Killed(NAMES))
app = Typer()
app.command()(guard)
app(arguments)
"""
POLICY = "labels: {NAME: {}}\nreplacement: pseudonym\n"


def run(moment: str, folder: Path, out: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, moment, str(folder / "in.jsonl"), "-o"]
    command += [str(folder / out), "--policy", str(folder / "policy.yaml")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    people = ("Mary Jones", "John Smith", "田中太郎")
    rows = (
        {"id": n, "text": f"{n} {people[(n // 200) % 3]}", "more": "x" * 400} for n in range(600)
    )
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "policy.yaml").write_text(POLICY)

    assert run("never", tmp_path, "whole").returncode == 0
    for moment in "scoring", "writing":
        assert run(moment, tmp_path, "out").returncode == -signal.SIGKILL
        assert not (tmp_path / "out").exists()
        done = (tmp_path / "out.partial").read_bytes()
        assert 10 < done.count(b"\n") < 500
        assert done.endswith(b"\n") is (moment == "scoring")

        again = run("never", tmp_path, "out")
        assert (again.returncode, again.stdout) == (0, "")
        assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"in.jsonl", "policy.yaml", "whole", "out"}
        (tmp_path / "out").unlink()
