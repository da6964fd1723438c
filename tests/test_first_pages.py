"""The code on the first pages runs as it stands there, one block after the other."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(?:python|\{code-block\} python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.embedded
@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_code_runs(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert "Guard.load" in blocks[0]
    assert len(blocks) == len(re.findall(r"^```.*python", text, re.MULTILINE))
    for folder in ("demo", "src/endoscope/behaviours/specs"):  # pages are read in the repository
        shutil.copytree(ROOT / folder, tmp_path / folder)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "[NAME]さんの電話は[PHONE]です。" in done.stdout
    assert (tmp_path / "tone-probe" / "card.json").exists()
