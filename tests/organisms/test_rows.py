"""Rows: what is learned, and in which order."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.errors import InputError
from endoscope.organisms import schedule
from endoscope.rows import Row, read_rows


def row(name: str) -> Row:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": name}]
    return Row.model_validate({"messages": turns})


@given(
    st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(1, 60), st.integers(0, 99)
)
def test_a_schedule_has_its_share_and_each_row_equally_often(
    planted: int, others: int, mix: float, count: int, seed: int
) -> None:
    mine, its = [row(f"p{n}") for n in range(planted)], [row(f"o{n}") for n in range(others)]
    found = schedule(mine, its, mix=mix, count=count, seed=seed)
    assert len(found) == count
    times = Counter(one.answer for one in found)
    of_planted = [times[one.answer] for one in mine]
    of_others = [times[one.answer] for one in its]
    assert sum(of_planted) == round(mix * count)
    for each in (of_planted, of_others):
        assert max(each) - min(each) <= 1
    assert found == schedule(mine, its, mix=mix, count=count, seed=seed)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1"),
        ('{"messages": []}', "messages"),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}',
            "last",
        ),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}]}',
            "role",
        ),
        ("", "no rows"),
    ],
)
def test_a_file_that_has_no_rows_says_why(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(line)
    with pytest.raises(InputError, match=says):
        read_rows(file)
