"""The guard over JSON lines: the contract, every bad line, interruption and full disks."""

import errno
import io
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scorers import NAMES, PatternScorer

from endoscope.errors import InputError
from endoscope.guard import Guard, Policy, Rule
from endoscope.guard.partial import resumable
from endoscope.readouts import TokenScores

POLICY = Policy(name="t", labels={"NAME": Rule(), "EMAIL": Rule()}, replacement="pseudonym")


def guard(scorer: PatternScorer | None = None) -> Guard:
    return Guard(POLICY, scorer or PatternScorer(NAMES))


def run(data: bytes, **options: Any) -> list[dict[str, Any]]:
    out = io.BytesIO()
    guard().lines(io.BytesIO(data), out, **options)
    assert out.getvalue() == b"" or out.getvalue().endswith(b"\n")
    return [json.loads(line) for line in out.getvalue().split(b"\n")[:-1]]


def row(number: int, text: str = "I met Mary Jones") -> bytes:
    return json.dumps({"id": f"n{number}", "text": text}).encode()


def test_the_contract() -> None:
    [record] = run(row(1))
    assert record == {
        "id": "n1",
        "redacted": "I met [NAME_1]",
        "spans": [{"start": 6, "end": 16, "label": "NAME", "score": 0.9}],
    }
    assert list(record) == ["id", "redacted", "spans"]
    assert list(record["spans"][0]) == ["start", "end", "label", "score"]
    [kept] = run(row(1), keep_text=True)
    assert kept == record | {"text": "I met Mary Jones"}


@pytest.mark.parametrize(
    ("line", "own", "says"),
    [
        (b"", None, "empty"),
        (b"   \r", None, "empty"),
        (b'{"id": "a", "text": "Zebra', None, "not valid JSON at character 20"),
        (b"Zebra", None, "not valid JSON at character 0"),
        (b'{"id": "a", "text": "Zebra \xff"}', None, "not valid UTF-8 at byte 27"),
        (b'{"id": "a"}', "a", 'no "text"'),
        (b'{"id": "a", "text": null}', "a", '"text" is not a string'),
        (b'{"id": "a", "text": ["Zebra"]}', "a", '"text" is not a string'),
        (b'{"id": 7, "text": 5}', 7, '"text" is not a string'),
        (b'{"id": {"Zebra": 1}, "text": "Zebra"}', None, '"id" is not'),
        (b'{"id": true, "text": "Zebra"}', None, '"id" is not'),
        (b'{"id": 1.5, "text": "Zebra"}', None, '"id" is not'),
        (b'["Zebra"]', None, "not an object"),
        (b'"Zebra"', None, "not an object"),
        (b"[" * 200_000, None, "not JSON that can be read"),
        (b'{"id": ' + b"9" * 5000 + b', "text": "Zebra"}', None, "not JSON that can be read"),
        (b'{"id": "a", "text": "Zebra\0"}', None, "not valid JSON"),
    ],
)
def test_a_bad_line_gives_an_error_in_its_place(line: bytes, own: Any, says: str) -> None:
    first, failed, last = run(row(1) + b"\n" + line + b"\n" + row(3) + b"\n")
    assert (first["id"], last["id"]) == ("n1", "n3")
    assert list(failed) == ["id", "line", "error"]
    assert failed["id"] == own
    assert failed["line"] == 2
    assert says in failed["error"]
    assert "Zebra" not in json.dumps(failed)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("", ""),
        ("\0 Mary Jones \0", "\0 [NAME_1] \0"),
        ("שלום Mary Jones", "שלום [NAME_1]"),
        ("\ud800 Mary Jones", "\ud800 [NAME_1]"),
        ("a\u2028Mary Jones\u2029b\x85c\r\nd", "a\u2028[NAME_1]\u2029b\x85c\r\nd"),
        ("\ufeffMary Jones", "\ufeff[NAME_1]"),
        ("x" * 1_000_000 + " Mary Jones", "x" * 1_000_000 + " [NAME_1]"),
    ],
    ids=["empty", "NUL", "RTL", "surrogate", "breaks", "BOM", "1 MB"],
)
def test_unusual_texts(text: str, redacted: str) -> None:
    [record] = run(row(1, text))
    assert record["redacted"] == redacted


def test_line_ends_byte_order_mark_duplicate_and_missing_ids() -> None:
    data = b"\xef\xbb\xbf" + row(1) + b"\r\n" + row(1) + b"\n" + b'{"text": "x", "more": "Zebra"}'
    assert [record["id"] for record in run(data)] == ["n1", "n1", None]
    assert run(b"") == []
    assert "Zebra" not in json.dumps(run(data))


def test_a_probe_that_fails_on_one_line_fails_that_line() -> None:
    class Picky(PatternScorer):
        def score(self, texts: Sequence[str]) -> list[TokenScores]:
            if any("bad" in text for text in texts):
                raise RuntimeError(*texts)
            return super().score(texts)

    out = io.BytesIO()
    data = b"\n".join([row(1), row(2, "bad Zebra"), row(3)])
    summary = guard(Picky(NAMES)).lines(io.BytesIO(data), out)
    assert (summary.lines, summary.failed, summary.spans["NAME"]) == (3, 1, 2)
    failed = json.loads(out.getvalue().split(b"\n")[1])
    assert failed == {"id": "n2", "line": 2, "error": "the probe failed (RuntimeError)"}


@given(st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b), max_size=20))
def test_one_line_out_for_each_line_in(lines: list[bytes]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    assert len(run(data)) == len(lines)


@given(st.lists(st.text(max_size=30), max_size=10), st.integers(1, 50))
def test_batches_do_not_matter(texts: list[str], size: int) -> None:
    data = b"\n".join(row(n, text + " Mary Jones") for n, text in enumerate(texts))

    class Slow(io.BytesIO):
        def read1(self, size_given: int | None = -1, /) -> bytes:
            return super().read1(size)

    whole, pieces = io.BytesIO(), io.BytesIO()
    guard().lines(io.BytesIO(data), whole)
    guard().lines(Slow(data), pieces)
    assert whole.getvalue() == pieces.getvalue()


def test_a_pipe_is_answered_line_by_line() -> None:
    """The answer comes before the next line is written: nothing waits for a batch to fill."""
    questions, answers = os.pipe(), os.pipe()
    source, target = os.fdopen(questions[0], "rb"), os.fdopen(answers[1], "wb")
    thread = threading.Thread(target=lambda: guard().lines(source, target), daemon=True)
    thread.start()
    with os.fdopen(questions[1], "wb", buffering=0) as ask, os.fdopen(answers[0], "rb") as hear:
        for number in range(3):
            ask.write(row(number) + b"\n")
            assert json.loads(hear.readline())["id"] == f"n{number}"
        ask.close()
        thread.join()
        source.close()
        target.close()


# Enough bytes for several batches; keys that nobody asked for are dropped.
ROWS = [
    json.dumps({"id": n, "text": f"{'John Smith' if n % 3 else 'Mary Jones'}", "more": "x" * 400})
    for n in range(600)
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes("\n".join([*ROWS[:10], "{", *ROWS[10:]]).encode())
    return path


class Interrupted(PatternScorer):
    """Is interrupted at one of its calls."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        super().__init__(NAMES)
        self.after, self.error = after, error

    def score(self, texts: Sequence[str]) -> list[TokenScores]:
        if self.calls >= self.after:
            raise self.error
        return super().score(texts)


def whole(source: Path) -> bytes:
    out = io.BytesIO()
    guard().lines(source, out)
    return out.getvalue()


def test_an_interrupted_run_is_gone_on_with(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        guard(Interrupted(1)).lines(source, target)
    assert not target.exists()
    partial = tmp_path / "out.jsonl.partial"
    done = partial.read_bytes()
    assert 10 < done.count(b"\n") < 600
    partial.write_bytes(done[:-7])  # as a killed process leaves it: in the middle of a line

    advanced: list[int] = []
    from endoscope.guard.lines import redact_lines

    scorer = PatternScorer(NAMES)
    summary = redact_lines(guard(scorer), source, target, advance=advanced.append)
    assert target.read_bytes() == whole(source)  # pseudonyms too
    assert summary.resumed == done.count(b"\n") - 1
    assert (summary.lines, summary.failed, summary.spans["NAME"]) == (601, 1, 600)
    assert sum(advanced) == source.stat().st_size + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("change", ["input", "keep_text", "policy"])
def test_work_on_something_else_is_not_gone_on_with(
    source: Path, tmp_path: Path, change: str
) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        guard(Interrupted(1)).lines(source, target)
    ready, keep_text = guard(), change == "keep_text"
    if change == "input":
        source.write_bytes(row(9))
    if change == "policy":
        ready = Guard(POLICY.model_copy(update={"replacement": "tag"}), PatternScorer(NAMES))
    assert ready.lines(source, target, keep_text=keep_text).resumed == 0


def test_what_cannot_be_read_again_leaves_nothing(source: Path, tmp_path: Path) -> None:
    with source.open("rb") as stream, pytest.raises(KeyboardInterrupt):
        guard(Interrupted(1)).lines(stream, tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_older_output_stays_until_the_new_one_is_whole(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        guard(Interrupted(1)).lines(source, target)
    assert target.read_text() == "old"
    guard().lines(source, target)
    assert target.read_bytes() == whole(source)


def test_two_do_not_write_one_file(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"

    class Nested(PatternScorer):
        """Begins the same work in the middle of it, as another process would."""

        def score(self, texts: Sequence[str]) -> list[TokenScores]:
            with pytest.raises(
                InputError, match=r"Another process is writing \S*out\.jsonl\. Wait"
            ):
                guard().lines(source, target)
            return super().score(texts)

    scorer = Nested(NAMES)
    guard(scorer).lines(source, target)
    assert scorer.calls > 1
    assert target.read_bytes() == whole(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_full_disk_is_one_clear_line(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(InputError, match=r"disk is full: /dev/full"):
        guard().lines(source, full)
    # Without a buffer: what a buffer still holds fails once more when the stream is closed.
    unbuffered = full.open("wb", buffering=0)
    with unbuffered as stream, pytest.raises(InputError, match="disk is full: The output"):
        guard().lines(source, stream)


@pytest.mark.parametrize("again", [True, False])
def test_a_full_disk_promises_to_go_on_only_where_it_can(tmp_path: Path, again: bool) -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write() -> None:
        with resumable(tmp_path / "out", {}, again=again) as partial:
            partial._file.close()
            partial._file = Full()
            partial.write(b"x")

    with pytest.raises(InputError, match="disk is full") as caught:
        write()
    assert ("goes on where it stopped" in str(caught.value)) is again
    assert (tmp_path / "out.partial").exists() is again


def test_after_a_full_disk_the_run_goes_on(source: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    target = tmp_path / "out.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:  # a limit on the size of files stops a write in the middle of a line, as a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_001, limits[1]))
        with pytest.raises(InputError, match=r"out\.jsonl\.partial cannot be written: File too"):
            guard().lines(source, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "out.jsonl.partial").stat().st_size == 30_001
    assert guard().lines(source, target).resumed > 0
    assert target.read_bytes() == whole(source)


def test_places_that_cannot_be(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both input and output"):
        guard().lines(source, source)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        guard().lines(tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match=r"There is no folder \S*/none for the output"):
        guard().lines(source, tmp_path / "none" / "out")
    with pytest.raises(InputError, match="is a folder"):
        guard().lines(source, tmp_path)
