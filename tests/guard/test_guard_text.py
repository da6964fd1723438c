"""The guard over plain text: pieces against the whole, pipes, and what cannot be read or scored."""

import io
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.scorers import NAMES, PatternScorer

from endoscope.errors import InputError
from endoscope.guard import Guard, Policy, Rule, pieces, text
from endoscope.guard.lines import Summary
from endoscope.guard.sniff import Ahead
from endoscope.guard.text import redact_text
from endoscope.readouts import TokenScores

POLICY = Policy(
    name="t",
    labels={"NAME": Rule(), "ADDRESS": Rule(), "SECRET": Rule(), "ID": Rule()},
    replacement="pseudonym",
)
# One name is known by the words before it alone.
PATTERNS = {
    "NAME": NAMES["NAME"] + r"|(?<=is called )Zebra",
    "ADDRESS": r"1 High Street\r?\nLondon",
    "SECRET": "$^",
    "ID": "$^",
}


def guard(scorer: PatternScorer | None = None) -> Guard:
    return Guard(POLICY, scorer or PatternScorer(PATTERNS))


class Slow(io.BytesIO):
    """A pipe that never gives more than a few bytes at once."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(self._size)


def run(
    data: bytes, ready: Guard | None = None, size: int = 1 << 16
) -> tuple[bytes, list[str], Summary]:
    out, problems = io.BytesIO(), list[str]()
    summary = redact_text(ready or guard(), Slow(data, size), out, warn=problems.append)
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
    "is called Zebra",
    "Zebra",
    "password: hunter2x9Q",
    "passport number AB1234567",
]
BREAKS = [" ", " ", " ", " ", "\n", "\r\n", "\n\n", "\r\n\r\n", "\n\n\n"]
PARAGRAPHS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(BREAKS)), max_size=80)
ONE_LINE = st.lists(  # names that follow each other would be one value, however long
    st.tuples(st.sampled_from([word for word in WORDS if "\n" not in word]), st.just(" and ")),
    min_size=30,
    max_size=80,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    PARAGRAPHS | ONE_LINE,
    st.integers(1, 100),
)
def test_pieces_give_what_the_whole_gives(
    small: None, words: list[tuple[str, str]], size: int
) -> None:
    # An address may lie at the end of a piece only where a paragraph does.
    whole = "".join(f"\n\n{w}\n\n" if "\n" in w else w + gap for w, gap in words)

    out = io.BytesIO()
    done: list[int] = []
    summary = redact_text(guard(), Slow(whole.encode(), size), out, advance=done.append)
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


@pytest.mark.parametrize("places", range(20))
def test_a_bad_line_does_not_pass_the_rest_of_a_key(small: None, places: int) -> None:
    body = b"MIIEpAIBAAKCAQEA75vZ\n"
    key = b"-----BEGIN PRIVATE KEY-----\n" + body + b"\nMIIE\xffpAI\n\n" + 4 * body
    out, problems, summary = run(
        b"word\n" * places + key + b"-----END PRIVATE KEY-----\nEnd. Yes.\n"
    )
    marked = b"[SECRET_1]\n\n[UNREADABLE: not valid UTF-8]\n\n[SECRET_2]\n"
    assert out == b"word\n" * places + marked + b"End. Yes.\n"
    assert len(problems) == summary.failed == 1


def test_a_key_that_is_longer_than_what_is_held(small: None) -> None:
    for size in range(10, 120):
        key = b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n" + b"MIIEpAIBAAKCAQEA75vZ\n" * size
        text = b"Mine:\n" + key + b"-----END PGP PRIVATE KEY BLOCK-----\nEnd. Mary Jones\n"
        out, _, _ = run(text, size=10)
        assert out.endswith(b"]\nEnd. [NAME_1]\n"), size
        assert b"MIIE" not in out, size
        assert b"75vZ" not in out, size


def test_a_value_whose_words_are_before_a_seam(small: None) -> None:
    """The seam of a long line falls on every place of the value and of its words in turn."""
    for shift in range(110, 240):
        line = "y" * shift + " password: hunter2x9Q, passport number AB1234567, is called Zebra "
        out = run((line + "word " * 200).encode(), size=10)[0].decode()
        for value, label in ("hunter2x9Q", "SECRET"), ("AB1234567", "ID"), ("Zebra", "NAME"):
            line = line.replace(value, f"[{label}_1]")
        assert out == line + "word " * 200, shift


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("reason", ["not UTF-8", "unscored"])
def test_what_is_left_of_a_line_is_dropped_where_its_beginning_failed(
    small: None, end: bytes, reason: str
) -> None:
    """It would begin in the middle of a value: half a card is none."""

    class Picky(PatternScorer):
        def score(self, texts: Sequence[str]) -> list[TokenScores]:
            if any("bad" in one for one in texts):
                raise RuntimeError
            return super().score(texts)

    start, marker = {
        "not UTF-8": (b"\xff", b"[UNREADABLE: not valid UTF-8]"),
        "unscored": (b"bad", b"[UNSCORED]"),
    }[reason]
    for shift in range(200, 260):
        line = start + b"y" * shift + b" 4111 1111 1111 1111, Mary Jones " + b"word " * 100
        after = b"John Smith" + end if end else b""
        out, problems, summary = run(line + end + after, guard(Picky(PATTERNS)), size=10)
        assert out == marker + end + after.replace(b"John Smith", b"[NAME_1]"), shift
        assert len(problems) == summary.failed == 1
        assert summary.lines == (2 if end else 1)


LINES = st.lists(st.tuples(st.sampled_from(WORDS), st.booleans()), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(LINES, st.sampled_from([b"\n", b"\r\n"]))
def test_bad_lines_leave_the_others_as_they_are(
    small: None, lines: list[tuple[str, bool]], end: bytes
) -> None:
    data, expected, ready = b"", b"", guard()
    for word, bad in lines:
        if "\n" in word:
            continue
        data += word.encode() + (b"\xe9" if bad else b"") + end
        good = b"" if bad else ready.redact(word).redacted.encode()
        expected += (b"[UNREADABLE: not valid UTF-8]" if bad else good) + end
    out, problems, summary = run(data)
    assert out == expected
    assert len(problems) == summary.failed == out.count(b"UNREADABLE")
    assert summary.lines == data.count(b"\n")


def test_work_on_many_keys_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0

    class Counted:
        """A pattern that counts the bytes that it goes over."""

        def __init__(self, pattern: "regex.Pattern[bytes]") -> None:
            self._pattern = pattern

        def finditer(self, held: bytes) -> Iterator["regex.Match[bytes]"]:
            nonlocal looked_at
            looked_at += len(held)
            return self._pattern.finditer(held)

        def search(self, held: bytes, start: int, end: int) -> "regex.Match[bytes] | None":
            nonlocal looked_at
            found = self._pattern.search(held, start, end)
            looked_at += end - (found.start() if found else start)
            return found

    for name in ("_KEY", "_LINE", "_BLANK_LINE"):
        monkeypatch.setattr(pieces, name, Counted(getattr(pieces, name)))
    for data in (
        b"-----BEGIN PRIVATE KEY-----\n" * 20_000,
        b"-----BEGIN PRIVATE KEY-----.\n" * 20_000,
    ):
        looked_at = 0
        cut = pieces.Pieces(Ahead(io.BytesIO(data)))
        assert b"".join(iter(lambda: cut.take().raw, b"")) == data  # noqa: B023
        assert 0 < looked_at < 40 * len(data)


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

    ready = guard(Picky(PATTERNS))
    start, middle = b"Mary Jones\n" * 1500, b"one Zebra\nbad Zebra\n"
    out, problems, summary = run(start + b"\n" + middle, ready)
    assert out.count(b"[NAME_1]\n") > 1400
    assert out.endswith(b"\n[UNSCORED]\n")
    assert b"Zebra" not in out
    assert problems[0].endswith("to 1503: the probe failed (RuntimeError)")
    assert summary.lines == 1503
    assert 2 <= summary.failed < 100

    out, problems, _ = run(b"bad " * 40_000, ready)  # one long line
    assert out == b"[UNSCORED]"
    assert problems == ["line 1: the probe failed (RuntimeError)"]


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
