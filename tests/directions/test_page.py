"""The example on the page of directions, on the model that it is of."""

import re
from pathlib import Path

import pytest

from endoscope.directions import Direction

ROOT = Path(__file__).parents[2]


@pytest.mark.embedded
def test_the_example_runs_and_finds_the_sea(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "directions.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "src").symlink_to(ROOT / "src")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    found = Direction.load(tmp_path / "sea-direction")
    figures = {(e.metric, e.baseline): e for e in found.card.evidence}
    ours, random = figures["auroc", None], figures["auroc", "random directions"]
    assert ours.low > random.value
    assert ours.value > 0.9
