"""The page of a report: what a model wrote is text there, and every signal is drawn."""

from html.parser import HTMLParser
from pathlib import Path

from endoscope.artifacts import Fingerprint
from endoscope.diff import Finding, Ran, Report, Sample, Signal
from endoscope.diff.html import LEFT, WIDTH, layers, plot, to_html

NASTY = "<script>alert('x')</script> & \u2028 {{ 7 * 7 }}"
MODEL = Fingerprint(config="0" * 64, weights="1" * 64, dtype="float32", tokenizer="2" * 64)


class Page(HTMLParser):
    """Counts tags, and checks that what is opened is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in ("meta", "circle", "line", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "circle":
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def signal(score: float) -> Signal:
    return Signal(method="phrases", subject=f"says {NASTY}", score=score, noise_floor=1.0)


def ran(*scores: float, details: dict[str, object] | None = None) -> Ran:
    given = {
        "method": "phrases",
        "signals": [signal(one) for one in scores],
        "seconds": 2.0,
        "generated": 10,
        "tokens": 100,
        "details": details or {},
    }
    return Ran.model_validate(given)


def report() -> Report:
    samples = (Sample(prompt=NASTY, tuned=NASTY, base=NASTY),)
    matrices = [
        {"layer": 0, "relative norm": 0.1},
        {"layer": 0, "relative norm": 0.3},
        {"layer": 1, "relative norm": 0.05},
    ]
    return Report(
        base="base",
        tuned=NASTY,
        base_model=MODEL,
        tuned_model=MODEL,
        seed=0,
        findings=(Finding.of(1, [signal(9.0).model_copy(update={"samples": samples})]),),
        methods=(ran(9.0, 0.5, 1e-9, 1e9, details={"matrices": matrices}),),
        black_box=ran(0.5),
        work=Path("work/x"),
    )


def test_it_is_well_formed_and_what_a_model_wrote_stays_text() -> None:
    text = to_html(report())
    page = Page()
    page.feed(text)
    assert page.open == []
    assert "script" not in page.counts
    assert NASTY in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert page.counts["circle"] == 5
    assert page.counts["article"] == 1


def test_dots_stand_where_their_strength_is() -> None:
    found = plot([ran(0.001, 1.0, 10.0, 1e9)])
    (line,) = found.lines
    places = [dot.x for dot in line.dots]
    assert places == sorted(places)
    assert all(LEFT <= x <= WIDTH for x in places)
    assert places[1] == found.floor
    assert [dot.above for dot in line.dots] == [False, False, True, True]


def test_layers_are_means_over_their_matrices() -> None:
    assert [(bar.layer, bar.height) for bar in layers(report())] == [(0, 100.0), (1, 25.0)]
