"""`endoscope guard`: text and lines, files and pipes, exit codes."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.scorers import NAMES, PatternScorer
from typer import Typer
from typer.testing import CliRunner, Result

from endoscope import guard as rooms
from endoscope.cli.guard import guard as verb
from endoscope.errors import InputError
from endoscope.guard import Guard, Policy
from endoscope.guard.sniff import Ahead

app = Typer()
app.command(name="guard")(verb)


@pytest.fixture(autouse=True)
def patterns(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The verb with a scorer that needs no model; returns what it was asked to load."""
    asked: dict[str, object] = {}

    def load(policy: Policy, **options: object) -> Guard:
        asked.update(options, policy=policy.name)
        return Guard(policy, PatternScorer(dict.fromkeys(policy.labels, "$^") | NAMES))

    monkeypatch.setattr(rooms.Guard, "load", load)
    return asked


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


LINE = json.dumps({"id": 1, "text": "Mary Jones, mary@example.com"}).encode() + b"\n"
OUT = '{"id": 1, "redacted": "[NAME], [EMAIL]", "spans": '


def test_lines_from_a_file_to_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(LINE)
    result = run(path)
    assert result.exit_code == 0
    assert result.stdout.startswith(OUT)
    assert result.stderr == "lines 1: EMAIL 1, NAME 1\n"


def test_lines_to_a_file_and_a_summary_for_machines(tmp_path: Path) -> None:
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(LINE + b"oops\n")
    result = run(path, "-o", out, "--json", "--keep-text")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "lines": 2,
        "failed": 1,
        "resumed": 0,
        "spans": {"EMAIL": 1, "NAME": 1},
    }
    first, failed = map(json.loads, out.read_text().splitlines())
    assert first["text"] == "Mary Jones, mary@example.com"
    assert failed == {"id": None, "line": 2, "error": "not valid JSON at character 0"}


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_standard_input_is_lines_if_it_begins_like_an_object(arguments: tuple[str, ...]) -> None:
    assert run(*arguments, stdin=b" \n" + LINE).stdout.splitlines()[1].startswith(OUT)
    assert run(*arguments, stdin=b"\xef\xbb\xbf" + LINE).stdout.startswith(OUT)
    assert run(*arguments, stdin=b"I am Mary Jones\r\n").stdout_bytes == b"I am [NAME]\r\n"
    assert run(*arguments, stdin=b"").stdout_bytes == b""
    assert run(*arguments, "--text", stdin=b"{Mary Jones}").stdout == "{[NAME]}"


def test_a_text_file(tmp_path: Path) -> None:
    path, out = tmp_path / "letter.txt", tmp_path / "clean.txt"
    path.write_bytes("{田中太郎は来た。\r\n".encode())
    assert run(path).stdout_bytes.decode() == "{[NAME]は来た。\r\n"
    assert run(path, "-o", out).stdout_bytes == b""
    assert out.read_bytes().decode() == "{[NAME]は来た。\r\n"
    record = json.loads(run(path, "--json", "--keep-text").stdout)
    assert [(s["start"], s["end"], s["label"]) for s in record["spans"]] == [(1, 5, "NAME")]
    assert record["text"] == "{田中太郎は来た。\r\n"


def test_options_reach_the_guard(patterns: dict[str, object], tmp_path: Path) -> None:
    policy = tmp_path / "mine.yaml"
    policy.write_text("name: mine\nreplacement: pseudonym\nlabels: {NAME: {}}\n")
    result = run("--policy", policy, "--model", "m", "--probe", "p", stdin=b"Mary Jones x@y.zz")
    assert result.stdout == "[NAME_1] x@y.zz"
    assert patterns == {"policy": "mine", "model": "m", "probe": "p", "device": "auto"}
    run("--device", "cpu", stdin=b"")
    assert patterns == {"policy": "pii", "model": None, "probe": None, "device": "cpu"}


def test_bad_input_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "wide.txt").write_bytes("Mary Jones".encode("utf-16"))
    (tmp_path / "p.yaml").write_text("labels: {NAME: {action: hide}}")
    for arguments, says in [
        ((tmp_path / "none.jsonl",), "cannot be read: No such file"),
        ((tmp_path,), "cannot be read: Is a directory"),
        ((tmp_path / "latin.txt", "--json"), "not valid UTF-8 at byte 3"),
        ((tmp_path / "wide.txt",), "is UTF-16. Convert it"),
        ((tmp_path / "latin.txt", "--keep-text"), "Give --json with --keep-text"),
        (("--keep-text",), "Give --json with --keep-text"),
        (("--policy", "gdpr"), "no policy gdpr"),
        (("--policy", tmp_path / "p.yaml"), "labels.NAME.action must be redact, flag, stop"),
    ]:
        error = run(*arguments, stdin=b"x").exception
        assert isinstance(error, InputError)
        assert says in str(error)
        assert "\n" not in str(error)


def test_a_place_that_cannot_be_is_refused_before_the_model_is_opened(
    tmp_path: Path, patterns: dict[str, object]
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(LINE)
    for place, says in [
        (tmp_path / "nodir" / "out.jsonl", f"There is no folder {tmp_path / 'nodir'}"),
        (tmp_path, "is a folder"),
        (path, "both input and output"),
    ]:
        error = run(path, "-o", place).exception
        assert isinstance(error, InputError)
        assert says in str(error)
        assert "partial" not in str(error)
    assert not patterns


def test_text_that_cannot_be_scored_gives_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def score(self: object, texts: object) -> object:
        raise RuntimeError

    monkeypatch.setattr(PatternScorer, "score", score)
    result = run(stdin=b"Zebra\n")
    assert result.exit_code == 2
    assert result.stdout == "[UNSCORED]\n"
    assert result.stderr.startswith("endoscope: line 1: the probe failed (RuntimeError)\n")
    result = run("--json", stdin=b"Zebra")
    assert isinstance(result.exception, InputError)
    assert "Zebra" not in result.output + str(result.exception)
    result = run(stdin=LINE)
    assert result.exit_code == 2
    assert "mary" not in result.stdout.casefold()


def test_lines_of_a_text_that_cannot_be_read(tmp_path: Path) -> None:
    path, out = tmp_path / "latin.txt", tmp_path / "out.txt"
    path.write_bytes(b"Mary Jones\ncaf\xe9\nEnd.\n")
    result = run(path, "-o", out)
    assert result.exit_code == 2
    assert out.read_text() == "[NAME]\n[UNREADABLE: not valid UTF-8]\nEnd.\n"
    first, last = result.stderr.splitlines()
    assert first == "endoscope: line 2: not valid UTF-8"
    assert "failed: 1;" in last
    path.write_bytes(b"\xe9\n" * 5000)
    result = run(path)
    assert result.stdout == "[UNREADABLE: not valid UTF-8]\n" * 5000
    assert len(result.stderr.splitlines()) < 20
    assert "line 10: not valid UTF-8\nendoscope: and 4,990 more\n" in result.stderr
    assert "failed: 5,000;" in result.stderr


def test_a_long_text_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    asked: list[tuple[int, bool]] = []

    @contextmanager
    def progress(_: str, total: int, *, show: bool) -> Iterator[Callable[[int], None]]:
        asked.append((total, show))
        yield steps.append

    monkeypatch.setattr("endoscope.progress.progress", progress)
    path = tmp_path / "long.txt"
    path.write_bytes(b"Nothing is here.\n" * 12_000)
    run(path, "-o", tmp_path / "out.txt")
    run(path)
    assert asked == [(204_000, True), (204_000, False)]
    assert len(steps) > 20
    assert sum(steps) == 2 * 204_000


def test_help_teaches_with_examples() -> None:
    text = run("--help").output
    assert "endoscope guard mails.jsonl -o clean.jsonl" in text
    assert "exit code is 2" in " ".join(text.split())


def test_the_policy_is_shown_to_be_copied(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(run("--show-policy").stdout_bytes)
    again = Policy.load(tmp_path / "mine.yaml")
    assert again.model_dump() == Policy.load("pii").model_dump()


def test_sniffing_takes_nothing_from_a_slow_pipe() -> None:
    class Drip(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(1)

    for data, lines in (b" \n{}x", True), (b" \n[]", False), (b"", False), (b" ", False):
        assert (Ahead(Drip(data)).is_lines()) is lines
        stream = Ahead(Drip(data))
        stream.is_lines()
        assert stream.read() == data
        stream = Ahead(Drip(data))
        stream.is_lines()
        assert b"".join(iter(stream.read1, b"")) == data
