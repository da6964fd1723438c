"""The code of docs/interventions.md runs, and does what it says."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "interventions.md"


@pytest.mark.embedded
def test_the_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, object] = {}
    exec(code, names)
    plain, changed, norm = capsys.readouterr().out.splitlines()
    before, after = (eval(line) for line in (plain, changed))
    assert after[0] > before[0] + 0.5
    assert after[0] - after[1] > before[0] - before[1] + 0.5
    assert 50 < float(norm) < 500
    acts, towards, site = names["acts"], names["towards"], names["site"]
    along = acts[site].float() @ towards / towards.norm()  # type: ignore[index, operator, attr-defined]
    assert along.abs().max() < 1.0  # bfloat16 rounds what is left
