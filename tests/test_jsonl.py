"""Lines keep their numbers and their text, whatever editor wrote the file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope import jsonl
from endoscope.engine.texts import read_texts
from endoscope.errors import InputError

LINES = st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))


@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_lines_come_back_with_their_numbers(
    lines: list[str], end: str, mark: bool, ended: bool
) -> None:
    content = end.join(lines) + (end if ended else "")
    found = jsonl.numbered(content.encode("utf-8-sig" if mark else "utf-8"))
    expected = [(i, line) for i, line in enumerate(lines, 1) if line.encode().strip()]
    if not mark and lines and lines[0].startswith("\ufeff"):
        return  # cannot be told from a byte order mark
    assert [(number, jsonl.text(line)) for number, line in found] == expected


def test_texts_by_hand(tmp_path: Path) -> None:
    rows = tmp_path / "x.jsonl"
    rows.write_bytes(
        b'\xef\xbb\xbf{"id": "a", "text": "one"}\r\n\r\n'
        b'{"messages": [{"role": "user", "content": "two"}]}'
    )
    assert read_texts(rows) == (["a", "3"], ["one", [{"role": "user", "content": "two"}]])
    plain = tmp_path / "x.txt"
    plain.write_bytes(b"\xef\xbb\xbfone\r\n\n  two\n")
    assert read_texts(plain) == (["1", "3"], ["one", "  two"])


def test_an_error_names_file_and_line_and_keeps_its_hint(tmp_path: Path) -> None:
    def fail() -> None:
        with jsonl.on_line(tmp_path / "x.jsonl", 7):
            raise InputError("no id.", "Give one.")

    with pytest.raises(InputError) as caught:
        fail()
    assert (caught.value.message, caught.value.hint) == ("x.jsonl, line 7: no id.", "Give one.")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
