"""The table of a probe of documents, on a tiny model."""

import json
import re
from pathlib import Path

import pytest
from recipes.harmful import table as recipe
from tests.tiny import save_tiny

import endoscope
from endoscope.errors import InputError
from endoscope.probes import ProbeData

pytestmark = pytest.mark.usefixtures("one_thread")


def write(path: Path, labels: str, start: int) -> ProbeData:
    """The label decides the last character, so the words alone tell."""
    rows = [
        {"id": i, "text": f"{i * 7919 % 1000} {'.!?'['abc'.index(label)]}", "label": label}
        for i, label in enumerate(labels, start=start)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ProbeData.read(path)


def test_the_table(tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "model"), device="cpu")
    train = write(tmp_path / "train.jsonl", "aab" * 25, 0)
    test = write(tmp_path / "test.jsonl", "aab" * 15, 1000)
    header, line, *rows = recipe.table(model, train, test, "resid_post.0,resid_post.1")
    assert header == ("| head, pooling | resid_post.0 | resid_post.1 | words alone (resid_pre.0) |")
    assert line == "|---|---|---|---|"
    assert [row.split(" | ")[0] for row in rows] == [
        f"| {head}, {pooling}" for head, pooling in recipe.ROWS
    ]
    for row in rows:
        assert len(re.findall(r"[01]\.\d\d \[[01]\.\d\d, [01]\.\d\d\]", row)) == 3
    last = rows[1].split(" | ")
    assert last[0] == "| logistic, last"
    assert {cell.split()[0] for cell in last[1:]} == {"1.00"}


def test_other_data_is_refused(tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "model"), device="cpu")
    two = write(tmp_path / "two.jsonl", "aab" * 5, 0)
    three = write(tmp_path / "three.jsonl", "abc" * 5, 0)
    with pytest.raises(InputError, match="not two labels"):
        list(recipe.table(model, three, two, "resid_post.0"))
    with pytest.raises(InputError, match="does not know: c"):
        list(recipe.table(model, two, three, "resid_post.0"))
