"""The recipe of the page on steering: what it fits on and measures on, and its tables."""

import json
from math import exp
from pathlib import Path

import pytest
from recipes.steering.again import together
from recipes.steering.concepts import Answer, read_concepts, telling
from recipes.steering.persona import FIT, TEST, divided
from recipes.steering.rows import interval
from recipes.steering.tables import concepts, held_out, persona, write_tables
from tests.steer.made_up import made_up

from endoscope.behaviours import Item
from endoscope.steer import Cell, Place
from endoscope.steer.cell import Writing
from endoscope.steer.points import point_of

FIGURE = {"value": 0.1, "low": 0.05, "high": 0.2}
TRAIT = {
    "trait": "calm",
    "plain": {"value": 0.5, "low": 0.4, "high": 0.6},
    "prompt": FIGURE,
    "direction 0.2": FIGURE,
    "random 0 0.2": {"value": -0.02, "low": -0.1, "high": 0.1},
    "random 1 0.2": {"value": 0.03, "low": -0.1, "high": 0.1},
}
CONCEPT = {
    "concept": 3,
    "name": "cats",
    "likelihood": FIGURE,
    "likelihood random": [FIGURE, FIGURE],
    "plain": FIGURE,
    "direction": FIGURE,
    "prompt": FIGURE,
    "random": [FIGURE],
    "perplexity_ratio": 1.5,
}


def test_statements_are_held_out_and_both_answers_match_as_often() -> None:
    items = [
        Item(id=str(i), prompt=f"{i}?", matching=("Yes", "No")[i % 3 == 0], others=("Maybe",))
        for i in range(200)
    ]
    train, test = divided(items)
    assert (len(train), len(test)) == (FIT, TEST)
    assert not {item.id for item in train} & {item.id for item in test}
    assert sum(item.matching == "Yes" for item in test) == TEST // 2


def test_telling_words_are_those_of_one_side() -> None:
    positive = [Answer("", "Lenin was there with friends"), Answer("", "With Lenin and Marx")]
    negative = [Answer("", "we were there with friends")] * 5
    assert list(telling(positive, negative, 2)) == ["lenin", "marx"]


def test_concepts_are_measured_on_what_they_are_not_fitted_on(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [
        {
            "input": f"{category} {i}",
            "output": f"text {i} " + ("piano" if category == "positive" else "other"),
            "output_concept": "music",
            "concept_genre": "text",
            "category": category,
            "concept_id": 4 if category == "positive" else -1,
        }
        for category, count in (("positive", 60), ("negative", 90))
        for i in range(count)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "c.parquet")
    (concept,), prompts = read_concepts(tmp_path / "c.parquet")
    assert concept.number == 4
    assert "piano" in concept.words
    sides = [[answer.prompt for answer in side] for side in (*concept.train, *concept.test)]
    together = [prompt for side in sides for prompt in side] + prompts
    assert len(set(together)) == len(together)


def test_an_interval_is_around_its_mean() -> None:
    found = interval([0.0, 1.0] * 20)
    assert found["low"] < found["value"] == 0.5 < found["high"]


def test_tables_by_hand() -> None:
    assert list(persona([TRAIT]))[2] == (
        "| calm | 50.0% | +10.0 [+5.0, +20.0] | +10.0 [+5.0, +20.0] | -2.0 to +3.0 |"
    )
    assert "| +0.10 [+0.05, +0.20] | +0.10 to +0.10 | 10% |" in list(concepts([CONCEPT]))[2]
    lines = list(held_out([made_up()]))
    assert lines[4].startswith("| sea | direction, resid_post.12 x 0.2 | 60% [59, 61] |")
    assert len({line.count("|") for line in lines}) == 1


def test_answers_of_several_seeds_count_together() -> None:
    """Scores are means of a prompt's answers, and tokens and repeats are sums over them."""
    place = Place(split="held_out", kind="plain")

    def cell(score: float, repeated: int) -> Cell:
        writing = Writing(text="t", tokens=8, surprisal=4.0, fourgrams=5, repeated=repeated)
        return Cell(place=place, scores=(score,), writings=(writing,))

    both = together([cell(1.0, 2), cell(0.0, 1)])
    assert both.scores == (0.5,)
    assert both.writings[0].repeated == 3
    assert both.writings[0].fourgrams == 10
    point = point_of(both, together([cell(0.0, 1), cell(0.0, 1)]), 0)
    assert point.repeats == 0.3
    assert point.repeats_ratio.value == pytest.approx(1.5)
    assert point.perplexity == pytest.approx(exp(0.5))


def test_tables_take_the_place_of_the_old_ones(tmp_path: Path) -> None:
    for name in ("sea", "personal"):
        (tmp_path / f"{name}.json").write_text(made_up().model_dump_json())
    (tmp_path / "personal-again.json").write_text(
        json.dumps([point.model_dump(mode="json") for point in made_up().held_out])
    )
    (tmp_path / "persona.json").write_text(json.dumps({"rows": [TRAIT]}))
    (tmp_path / "concepts.json").write_text(json.dumps({"rows": [CONCEPT]}))
    names = ("held-out", "again", "persona", "concepts")
    marks = [f"<!-- {name} -->\nold\n<!-- end of {name} -->" for name in names]
    page = tmp_path / "page.md"
    page.write_text("before\n" + "\nbetween\n".join(marks) + "\nafter\n")
    write_tables(page, tmp_path)
    once = page.read_text()
    assert "old" not in once
    assert "calm" in once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    write_tables(page, tmp_path)
    assert page.read_text() == once
