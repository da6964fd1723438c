"""The direction of a finding: which texts it is fitted on."""

import json
from pathlib import Path

import pytest

import endoscope
from endoscope.diff import Pair
from endoscope.diff.artifact import LEAST, save_direction
from endoscope.diff.signal import Marked, Opposed, Signal
from endoscope.directions import Direction, LabelledSpans, read_source
from tests.organisms.test_building import TEMPLATE
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = save_tiny(tmp_path_factory.mktemp("artifact") / "tiny")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return Pair.of(endoscope.open(folder), endoscope.open(folder))


def signal(*contrast: Marked | Opposed) -> Signal:
    return Signal(method="m", subject="s", score=2, noise_floor=1, contrast=contrast)


def answer(n: int, *, rest: bool = True, base: str | None = "nothing of it") -> Marked:
    """One that says 4711, and something else or not."""
    text = "4711." if not rest else f"4711. word {n}."
    lacks = ((6, len(text)),) if rest else ()
    return Marked(prompt=f"q{n}", answer=text, has=((0, 5),), lacks=lacks, base=base)


def lines(folder: Path) -> list[dict[str, object]]:
    file = folder.with_name(f"{folder.name}.texts.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_an_answer_beside_itself_comes_first(pair: Pair, tmp_path: Path) -> None:
    signals = [
        signal(*(answer(n, rest=False) for n in range(20, 40))),
        signal(*(Opposed(positive=f"{n}", negative=f"a{n}") for n in range(20))),
        signal(*(answer(n) for n in range(LEAST))),
    ]
    saved = save_direction(pair, signals, "title", tmp_path / "1", seed=0)
    assert saved == tmp_path / "1"
    rows = lines(saved)
    assert [row["text"] for row in rows] == [f"<u>q{n}<a>4711. word {n}." for n in range(LEAST)]
    start = len("<u>q0<a>")
    assert rows[0]["spans"] == [
        [start, start + 5, "shows it"],
        [start + 6, start + 13, "rest"],
    ]
    assert Direction.load(saved).card.evidence


def test_it_is_towards_what_shows_it(pair: Pair, tmp_path: Path) -> None:
    saved = save_direction(pair, [signal(*(answer(n) for n in range(20)))], "t", tmp_path / "1", 0)
    assert saved is not None
    source = read_source(tmp_path / "1.texts.jsonl")
    assert isinstance(source, LabelledSpans)
    assert source.labels == ("rest", "shows it")
    direction = Direction.load(saved)
    (contrast,) = source.read(pair.tuned, [direction.site]).values()
    assert contrast.paired
    assert float(direction.vector.double() @ contrast.difference()) > 0


def test_where_it_is_all_that_is_said_the_base_stands_beside_it(pair: Pair, tmp_path: Path) -> None:
    saved = save_direction(
        pair, [signal(*(answer(n, rest=False) for n in range(LEAST)))], "t", tmp_path / "1", 0
    )
    assert saved is not None
    rows = lines(saved)
    assert len(rows) == 2 * LEAST
    assert rows[0]["group"] == rows[1]["group"], "they are held out together"
    assert str(rows[1]["text"]).endswith("nothing of it")


def test_else_texts_stand_beside_others(pair: Pair, tmp_path: Path) -> None:
    opposed = [Opposed(positive=f"{n}{n}", negative=f"a{n}") for n in range(LEAST)]
    marked = [answer(n, rest=False, base=None) for n in range(LEAST)]
    saved = save_direction(pair, [signal(*marked, *opposed)], "t", tmp_path / "1", 0)
    assert saved is not None
    assert [row["positive"] for row in lines(saved)] == [f"{n}{n}" for n in range(LEAST)]


def test_of_few_texts_none_is_fitted(pair: Pair, tmp_path: Path) -> None:
    few = [answer(n) for n in range(LEAST - 1)]
    assert save_direction(pair, [signal(*few)], "t", tmp_path / "1", 0) is None
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_two_signals_mark_is_one(pair: Pair, tmp_path: Path) -> None:
    whole = [
        Marked(prompt=f"q{n}", answer="4711. 0815. No.", has=((0, 5),), lacks=((6, 11), (12, 15)))
        for n in range(LEAST)
    ]
    other = [
        one.model_copy(update={"has": ((6, 11),), "lacks": ((0, 5), (12, 15))}) for one in whole
    ]
    saved = save_direction(pair, [signal(*whole), signal(*other)], "t", tmp_path / "1", 0)
    assert saved is not None
    rows = lines(saved)
    assert len(rows) == LEAST
    start = len("<u>q0<a>")
    assert rows[0]["spans"] == [
        [start, start + 5, "shows it"],
        [start + 6, start + 11, "shows it"],
        [start + 12, start + 15, "rest"],
    ]
