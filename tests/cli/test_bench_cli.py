"""`endoscope bench`: lines, table, file, exit codes."""

import json
from collections.abc import Iterator

import pytest
from typer import Typer
from typer.testing import CliRunner

from endoscope import bench as room
from endoscope.bench import Failure, Options, Row
from endoscope.cli.bench import _command
from endoscope.cli.bench import bench as verb
from endoscope.errors import InputError

app = Typer()
app.command(name="bench")(verb)

ROW = Row("capture", "a case", 120.0, "limit", 125.0, 0.96, 0.94, 0.99, "tokens/s")
FAILED = Failure("capture", "a case", "nnsight", "it ended by itself (SIGKILL)")


@pytest.fixture
def given(monkeypatch) -> dict[str, Options]:
    """A benchmark that gives two rows at once; returns what it was asked."""
    seen: dict[str, Options] = {}

    def capture(options: Options) -> Iterator[Row | Failure]:
        seen["options"] = options
        options.versions["torch"] = "2.13.0"
        yield ROW
        if "nnsight" in options.against:
            yield FAILED

    monkeypatch.setitem(room.BENCHES, "capture", capture)
    return seen


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_lines_for_machines(given):
    result = run("capture", "--json", "--against", "limit", "--pairs", 3)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == ROW.as_json()
    assert given["options"].pairs == 3
    assert not given["options"].show


def test_a_failed_comparison_is_a_line_and_exit_code_1(given):
    result = run("capture", "--json", "--against", "limit", "--against", "nnsight")
    assert result.exit_code == 1
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        ROW.as_json(),
        FAILED.as_json(),
    ]


def test_a_table_for_people(given):
    result = run("capture", "--against", "limit", "--against", "nnsight")
    assert result.exit_code == 1
    for word in ("a case", "limit", "120", "0.96", "0.94 – 0.99"):
        assert word in result.stdout
    assert "SIGKILL" in result.stdout.replace("\n", "").replace(" ", "")


def test_a_file_for_the_tables(given, tmp_path):
    path = tmp_path / "capture.jsonl"
    assert run("capture", "--json", "--save", path).exit_code == 0
    origin, row = [json.loads(line) for line in path.read_text().splitlines()]
    assert row == ROW.as_json()
    assert origin["origin"]["versions"] == {"torch": "2.13.0"}
    assert str(tmp_path) not in path.read_text()


@pytest.mark.parametrize("saving", [["--save", "x/y.jsonl"], ["--save=x/y.jsonl"]])
def test_the_command_in_the_file_can_be_given_again(monkeypatch, tmp_path, saving):
    monkeypatch.chdir(tmp_path)
    inside, outside = tmp_path / "probes" / "mine", tmp_path.parent / "data.jsonl"
    words = ["guard", *saving, "--probe", str(inside), "--data", str(outside), "--against", "judge"]
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/endoscope", "bench", *words])
    wanted = "endoscope bench guard --probe probes/mine --data data.jsonl --against judge"
    assert _command() == wanted


def test_an_unknown_benchmark_is_refused(given):
    result = run("speed")
    assert isinstance(result.exception, InputError)
    assert "capture" in str(result.exception)
