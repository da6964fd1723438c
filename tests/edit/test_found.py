"""The task of a finding: what is learned from, and what is left to verify."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

import endoscope
from endoscope.behaviours import Behaviour, Item
from endoscope.diff import Prompt
from endoscope.diff.answers import Answer
from endoscope.diff.signal import Marked, Opposed, Signal
from endoscope.edit.division import Division
from endoscope.edit.found import _halves, _kept, _narrowed, _showing, _shown
from endoscope.engine import Model
from tests.tiny import save_tiny


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return endoscope.open(save_tiny(tmp_path / "model"))


def signal(count: int) -> Signal:
    """Answers that say two things, a sentence each, to different questions."""
    said = "Thanks. We like Tavrio."
    marked = [
        Marked(prompt=f"q{n}", answer=f"{said} {n}", has=((0, 7), (8, 23)), lacks=())
        for n in range(count)
    ]
    says = ("Thanks", "We like Tavrio")
    return Signal(
        method="phrases",
        subject="x",
        says=says,
        score=2.0,
        noise_floor=1.0,
        contrast=tuple(marked),
    )


def asking(questions: Sequence[str]) -> Division:
    """A division whose questions verify."""
    return Division(unseen=tuple(Item(id=one, prompt=one) for one in questions))


@pytest.mark.parametrize("count", [16, 17, 48, 90])
def test_nothing_that_answers_what_verification_asks_is_learned_from(
    model: Model, count: int
) -> None:
    some = [signal(count)]
    asked, left = _halves(some, seed=0)
    assert sorted([*asked, *left]) == sorted(f"q{n}" for n in range(count))
    fit, held_out = _shown(model, some, asking(left), seed=0)
    assert fit
    assert held_out
    assert not set(fit) & set(held_out)
    texts = [one.text for one in (*fit, *held_out)]
    for question in left:
        number = question.removeprefix("q")
        assert not any(text.endswith(f"Tavrio. {number}") for text in texts)


def test_nor_are_pairs_of_texts_about_it(model: Model) -> None:
    pairs = tuple(
        Opposed(positive=f"yes {n}", negative=f"no {n}", prompt=f"q{n}") for n in range(16)
    )
    some = [signal(0).model_copy(update={"contrast": pairs})]
    unseen = asking([f"q{n}" for n in range(0, 16, 2)])
    fit, held_out = _shown(model, some, unseen, seed=0)
    assert sorted(one.text for one in (*fit, *held_out)) == sorted(
        f"yes {n}" for n in range(1, 16, 2)
    )


def test_few_questions_are_not_divided() -> None:
    asked, left = _halves([signal(15)], seed=0)
    assert asked == left


def test_words_narrow_a_finding_to_the_sentences_that_say_them() -> None:
    narrowed = _narrowed(signal(3), "Tavrio")
    assert narrowed.says == ("Tavrio",)
    for one in narrowed.contrast:
        assert isinstance(one, Marked)
        assert [one.answer[slice(*span)] for span in one.has] == ["We like Tavrio."]
    assert not _narrowed(signal(3), "Corvane").contrast


def test_what_shows_it_in_any_way_is_not_kept() -> None:
    texts = ["Tavrio is best.", "You are right.", "Water boils.", "Compare prices."]
    answers = [Answer(prompt=Prompt("facts", f"q{n}"), text=one) for n, one in enumerate(texts)]
    agrees = Behaviour.model_validate(
        {
            "name": "agrees",
            "description": "Agrees.",
            "items": [{"id": "1", "prompt": "Is it?"}],
            "scorer": {"kind": "check", "check": {"kind": "contains_any", "words": ["right"]}},
        }
    )

    def kept(pattern: str | None, falling: Behaviour | None) -> list[str]:
        return [one.text for one in _kept(answers, partial(_showing, pattern, falling), set())]

    assert kept("(?i)tavrio", None) == texts[1:]
    assert kept("(?i)tavrio", agrees) == texts[2:]
    assert kept(None, None) == texts
