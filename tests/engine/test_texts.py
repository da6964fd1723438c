"""Texts from files, and what is wrong with them."""

from pathlib import Path

import pytest

from endoscope.engine.texts import read_texts
from endoscope.errors import InputError


def test_lines_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("[" * 200_000)
    with pytest.raises(InputError, match="line 1: not valid JSON"):
        read_texts(path)


def write(folder: Path, *lines: str) -> Path:
    path = folder / "x.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_line_without_an_id_has_its_number(tmp_path: Path) -> None:
    lines = ('{"text": "a"}', "", '{"id": null, "text": "b"}', '{"id": 7, "text": "c"}')
    ids, texts = read_texts(write(tmp_path, *lines, '{"id": null, "text": "d"}'))
    assert ids == ["1", "3", "7", "5"]
    assert texts == ["a", "b", "c", "d"]


@pytest.mark.parametrize("first", ['{"text": "a"}', '{"id": "1", "text": "a"}'])
def test_an_id_that_is_taken_is_refused_with_both_lines(tmp_path: Path, first: str) -> None:
    path = write(tmp_path, first, '{"id": "x", "text": "b"}', '{"id": 1, "text": "c"}')
    with pytest.raises(InputError, match=r"x\.jsonl, line 3: its id is that of line 1 "):
        read_texts(path)


@pytest.mark.parametrize("found", ["true", "1.5", "[1]", "{}"])
def test_an_id_is_a_text_or_a_whole_number(tmp_path: Path, found: str) -> None:
    path = write(tmp_path, '{"text": "a"}', f'{{"id": {found}, "text": "b"}}')
    with pytest.raises(InputError, match='line 2: "id" is no text'):
        read_texts(path)
