"""The guard over plain text: pieces against the whole, pipes, and what cannot be read or scored."""

import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.scorers import NAMES, PatternScorer

from endoscope.errors import InputError
from endoscope.guard import Guard, Policy, Rule, pieces, text
from endoscope.guard.lines import Summary
from endoscope.guard.text import redact_text
from endoscope.readouts import TokenScores

POLICY = Policy(
    name="t",
    labels={"NAME": Rule(), "ADDRESS": Rule(), "SECRET": Rule()},
    replacement="pseudonym",
)
PATTERNS = NAMES | {"ADDRESS": r"1 High Street\r?\nLondon"}


def guard(scorer: PatternScorer | None = None) -> Guard:
    return Guard(POLICY, scorer or PatternScorer(PATTERNS | {"SECRET": "$^"}))


def run(data: bytes, ready: Guard | None = None) -> tuple[bytes, list[str], Summary]:
    out, problems = io.BytesIO(), list[str]()
    summary = redact_text(ready or guard(), io.BytesIO(data), out, warn=problems.append)
    return out.getvalue(), problems, summary


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that short texts have many."""
    monkeypatch.setattr(pieces, "_PIECE", 64)
    monkeypatch.setattr(pieces, "_MOST", 256)
    monkeypatch.setattr(text, "_CONTEXT", 40)


WORDS = [
    "Mary Jones",
    "田中太郎",
    "John Smith",
    "é",
    "a",
    "x" * 30,
    "ジョン・スミス",
    "1 High Street\nLondon",
]
BREAKS = [" ", " ", " ", " ", "\n", "\r\n", "\n\n", "\r\n\r\n", "\n\n\n"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(BREAKS)), max_size=80),
    st.integers(1, 100),
)
def test_pieces_give_what_the_whole_gives(
    small: None, words: list[tuple[str, str]], size: int
) -> None:
    # An address may lie at the end of a piece only where a paragraph does.
    whole = "".join(f"\n\n{w}\n\n" if "\n" in w else w + gap for w, gap in words)

    class Slow(io.BytesIO):
        def read1(self, size_given: int | None = -1, /) -> bytes:
            return super().read1(size)

    out = io.BytesIO()
    done: list[int] = []
    summary = redact_text(guard(), Slow(whole.encode()), out, advance=done.append)
    assert out.getvalue().decode() == guard().redact(whole).redacted
    assert sum(done) == len(whole.encode())
    assert summary.lines == len(whole.encode().splitlines())
    assert summary.failed == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=600), st.sampled_from([b"", b"Mary Jones"]))
def test_any_bytes_at_all(small: None, data: bytes, name: bytes) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    out, problems, summary = run(data + b"\n" + name + b"\n" + data)
    assert out.decode().count("[UNREADABLE: not valid UTF-8]") == len(problems)
    assert (summary.failed > 0) == bool(problems)
    assert b"Mary Jones" not in out


def test_a_paragraph_is_not_cut_where_it_fits_into_a_piece() -> None:
    count = 4 * pieces._PIECE // 40
    for end in b"\n", b"\r\n":
        data = (b"Write to 1 High Street" + end + b"London today." + 2 * end) * count
        out, _, summary = run(data)
        assert out == (b"Write to [ADDRESS_1] today." + 2 * end) * count
        assert summary.spans == {"ADDRESS": count}


def test_a_long_line_is_cut_where_no_value_is() -> None:
    data = b"I met Mary Jones there. " * 7_000
    assert len(data) > 2 * pieces._MOST
    assert run(data)[0] == b"I met [NAME_1] there. " * 7_000
    out, _, _ = run(b"Mary Jones " * 15_000)  # one value, as far as anybody can tell
    assert out.startswith(b"[NAME_1] ")
    assert not {b"Mary", b"Jones"} & set(out.split())


@pytest.mark.parametrize("places", range(20))
def test_a_private_key_is_never_cut(small: None, places: int) -> None:
    key = (
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F\n\n"
        + b"MIIEpAIBAAKCAQEA75vZ\n" * 4
        + b"-----END RSA PRIVATE KEY-----"
    )
    filler = b"word\n" * places
    assert run(filler + key + b"\nEnd.\n" + filler)[0] == filler + b"[SECRET_1]\nEnd.\n" + filler


def test_memory_holds_a_piece() -> None:
    class Counted(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            self.given = self.tell() + 1000
            return super().read1(1000)

    source = Counted(b"Mary Jones came.\n" * 10_000)

    class Sink(io.BytesIO):
        behind = 0

        def write(self, data: object, /) -> int:
            self.behind = max(self.behind, source.given - self.tell() * 17 // 15)
            return super().write(data)  # type: ignore[arg-type]

    sink = Sink()
    redact_text(guard(), source, sink)
    assert sink.getvalue() == b"[NAME_1] came.\n" * 10_000
    assert sink.behind <= 2 * pieces._PIECE


def test_a_pipe_is_answered_line_by_line() -> None:
    """The answer comes before the next line is written, as `tail -f` needs it."""
    questions, answers = os.pipe(), os.pipe()
    source, target = os.fdopen(questions[0], "rb"), os.fdopen(answers[1], "wb")
    thread = threading.Thread(target=lambda: redact_text(guard(), source, target), daemon=True)
    thread.start()
    with os.fdopen(questions[1], "wb", buffering=0) as ask, os.fdopen(answers[0], "rb") as hear:
        for number in range(3):
            ask.write(f"{number} Mary Jones\nand a half".encode())
            assert hear.readline().endswith(f"{number} [NAME_1]\n".encode())
        ask.close()
        thread.join()
        assert hear.read(10) == b"and a half"
        source.close()
        target.close()


def test_lines_that_are_not_utf_8() -> None:
    out, problems, summary = run(b"Mary Jones\ncaf\xe9 Zebra\r\nJohn Smith\n\xe7\x94")
    assert out == (
        b"[NAME_1]\n[UNREADABLE: not valid UTF-8]\r\n[NAME_2]\n[UNREADABLE: not valid UTF-8]"
    )
    assert problems == ["line 2: not valid UTF-8", "line 4: not valid UTF-8"]
    assert (summary.lines, summary.failed) == (4, 2)


def test_what_cannot_be_scored() -> None:
    class Picky(PatternScorer):
        def score(self, texts: Sequence[str]) -> list[TokenScores]:
            if any("bad" in one for one in texts):
                raise RuntimeError(*texts)
            return super().score(texts)

    ready = guard(Picky(PATTERNS | {"SECRET": "$^"}))
    start, middle = b"Mary Jones\n" * 1500, b"one Zebra\nbad Zebra\n"
    out, problems, summary = run(start + b"\n" + middle, ready)
    assert out.count(b"[NAME_1]\n") > 1400
    assert out.endswith(b"\n[UNSCORED]\n")
    assert b"Zebra" not in out
    assert problems[0].endswith("to 1503: the probe failed (RuntimeError)")
    assert summary.lines == 1503
    assert 2 <= summary.failed < 100

    out, problems, _ = run(b"bad " * 20_000, ready)  # one long line
    assert set(out.replace(b"[UNSCORED]", b"")) <= set(b"")
    assert set(problems) == {"line 1: the probe failed (RuntimeError)"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_refused(encoding: str, tmp_path: Path) -> None:
    path, out = tmp_path / "notes.txt", tmp_path / "out.txt"
    path.write_bytes(
        "\ufeffMary Jones\nJohn Smith\n".removeprefix("\ufeff" * (encoding == "utf-16")).encode(
            encoding
        )
    )
    with pytest.raises(InputError, match=r"The text is UTF-16\. Convert it: `iconv"):
        redact_text(guard(), path, out)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def test_from_file_to_file(tmp_path: Path) -> None:
    path, out = tmp_path / "in.txt", tmp_path / "out.txt"
    path.write_bytes(b"\xef\xbb\xbfMary Jones\0\r\n")
    redact_text(guard(), path, out)
    assert out.read_bytes() == b"\xef\xbb\xbf[NAME_1]\0\r\n"
    path.write_bytes(b"")
    redact_text(guard(), path, out)
    assert out.read_bytes() == b""
    with pytest.raises(InputError, match="both input and output"):
        redact_text(guard(), path, path)
