import json
import runpy
from pathlib import Path

from endoscope.bench.results import save, tables
from endoscope.bench.rows import Failure, Row

ROWS = [
    Row("capture", "tiny, resid_post.1", 1234.56, "limit", 1250.0, 0.98765, 0.95, 1.02, "tokens/s"),
    Row("edit", "KL(a || b)", 0.00471, "limit", 0.02, 4.25, 4.0, 4.5, "nats"),
    Failure("capture", "tiny, resid_post.1", "nnsight", "it ended by itself (SIGKILL)"),
]


def test_a_file_says_where_it_comes_from(tmp_path):
    path = tmp_path / "capture.jsonl"
    save(path, ROWS, {"torch": "2.13.0"}, "endoscope bench capture")
    origin, *rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [row.as_json() for row in ROWS]
    assert origin["origin"]["command"] == "endoscope bench capture"
    assert origin["origin"]["versions"] == {"torch": "2.13.0"}
    assert origin["origin"]["machine"]["cores"] >= 1


def test_tables_show_every_row(tmp_path):
    path = tmp_path / "capture.jsonl"
    save(path, ROWS, {"torch": "2.13.0"}, "endoscope bench capture")
    text = tables([path])
    assert "| tiny, resid_post.1 | limit | 1,235 tokens/s | 1,250 tokens/s | 0.99 |" in text
    assert "0.95 – 1.02" in text
    assert "SIGKILL" in text
    assert r"| KL(a \|\| b) | limit | 0.0047 nats |" in text
    assert "torch 2.13.0" in text


def test_the_page_of_the_documentation_is_made_from_the_results():
    docs = Path(__file__).parents[2] / "docs"
    page = runpy.run_path(str(docs / "benchmarks.py"))["page"]
    assert (docs / "benchmarks.md").read_text(encoding="utf-8") == page()
