"""`make demo`: nothing that was planted comes through, and what is steered differs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "demo"
PLANTED = [
    "Priya",
    "Raman",
    "priya.raman@fernleaf.example",
    "support@fernleaf.example",
    "Okafor",
    "41 Larkspur Road",
    "BS6 5QT",
    "+44 117 496 0271",
    "4929 6118 0034 2277",
    "Ford",
    "森下",
    "千葉美咲",
    "小野寺",
    "神奈川県鎌倉市長谷3-14-7",
    "コーポ若葉201",
    "０９０－４４１２－８８３６",
    "1987年4月12日",
    "K-20931",
    "川端",
    "オリバー",
    "ストレンジ",
    "tanuki_1987",
    "203.0.113.77",
    "mX9!rt-Quill72",
]
INNOCENT = ["Kestrel 3 lamps", "$89.00", "The Bristol office", "松下電器", "千葉県", "横浜支店"]


def solid(text: str) -> str:
    """The text without white space, which the panel breaks lines at."""
    return re.sub(r"\s", "", text)


@pytest.mark.embedded
def test_no_planted_value_comes_through() -> None:
    page = (DEMO / "page.txt").read_text(encoding="utf-8")
    assert all(value in page for value in (*PLANTED, *INNOCENT))
    done = subprocess.run(
        [sys.executable, DEMO / "scrub.py"], capture_output=True, encoding="utf-8", check=True
    )
    _, _, rest = done.stdout.partition("what it lets through")
    panel, _, seen = rest.partition("what the probe saw")
    through = solid("".join(re.findall(r"│(.*)│\n", panel)))
    assert through.startswith("From:[NAME]")
    assert "Friday" in through  # to the last line
    for value in PLANTED:
        assert solid(value) not in through
    for value in INNOCENT:
        assert solid(value) in through
    assert re.search(r"name:0\.\d\d│", seen)
    assert re.search(r"\d characters in [\d,]+ ms", seen)


@pytest.mark.embedded
def test_the_server_steers_reads_and_guards() -> None:
    done = subprocess.run(
        [sys.executable, DEMO / "serve.py", "--tokens", "12"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    question, _, rest = done.stdout.partition("a probe reads along")
    rows = [line.split("│") for line in question.splitlines() if line.count("│") == 4]
    plain, steered = (solid("".join(row[place] for row in rows)) for place in (1, 3))
    assert plain
    assert steered
    assert plain != steered
    assert re.search(r"rude with probability 0\.\d\d", rest)
    without, _, guarded = rest.partition("without:")[2].partition("with:")
    assert "Blome" in without
    assert "[NAME]" in guarded
    assert not re.search("Harriet|Blome|7946", guarded)
