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
