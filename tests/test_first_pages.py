"""The code on the first pages runs as it stands there, one block after the other."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(?:python|\{code-block\} python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def code_of(page: str, folder: Path) -> str:
    """Return the code of a page, and copy what it reads into a folder."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert "Guard.load" in blocks[0]
    assert len(blocks) == len(re.findall(r"^```.*python", text, re.MULTILINE))
    for part in ("demo", "src/endoscope/behaviours/specs"):  # pages are read in the repository
        shutil.copytree(ROOT / part, folder / part)
    return "\n".join(blocks)


@pytest.mark.embedded
def test_the_code_of_the_readme_runs_by_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code_of("README.md", tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "[NAME]さんの電話は[PHONE]です。" in done.stdout
    assert (tmp_path / "tone-probe" / "card.json").exists()


@pytest.mark.embedded
def test_the_code_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = code_of("docs/index.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert "[NAME]さんの電話は[PHONE]です。" in capsys.readouterr().out
    assert (tmp_path / "tone-probe" / "card.json").exists()
