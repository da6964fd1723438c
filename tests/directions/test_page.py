"""The example on the page of directions, on the model that it is of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from endoscope.directions import Direction

ROOT = Path(__file__).parents[2]


@pytest.mark.embedded
def test_the_example_runs_and_finds_the_sea(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "directions.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "src").symlink_to(ROOT / "src")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    found = Direction.load(tmp_path / "sea-direction")
    figures = {(e.metric, e.baseline): e for e in found.card.evidence}
    ours, random = figures["auroc", None], figures["auroc", "random directions"]
    assert ours.low > random.value
    assert ours.value > 0.9
