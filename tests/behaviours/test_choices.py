"""Counterbalanced answers: what a model thinks of letters and places cancels."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.behaviours import Item, Message
from endoscope.behaviours.scorers import ChoicesScorer
from tests.behaviours.fakes import FakeModel

LETTERS = ChoicesScorer(kind="choices")
FREE = ChoicesScorer(kind="choices", form="free")


def item(*answers: str, **more: object) -> Item:
    return Item(id="a", prompt="Which?", matching=answers[0], others=answers[1:], **more)


def score(scorer: ChoicesScorer, model: FakeModel, *items: Item) -> list[float]:
    found = scorer.score(model, items, seed=0, progress=False)  # type: ignore[arg-type]
    return [one.value for one in found]


def shown(prompt: str, letter: str) -> str:
    """The answer that stands at a letter."""
    found = re.search(rf"^{re.escape(letter)} (.*)$", prompt, re.MULTILINE)
    assert found, prompt
    return found[1]


def test_a_model_that_always_prefers_a_says_nothing() -> None:
    always_a = FakeModel(likely=lambda _, letter: 0.0 if letter.strip() == "(A)" else -9.0)
    assert score(LETTERS, always_a, item("yes", "no")) == [pytest.approx(0.5)]
    assert score(LETTERS, always_a, item("red", "green", "blue")) == [pytest.approx(1 / 3)]


@given(
    st.lists(st.floats(-8, 8), min_size=2, max_size=6),
    st.lists(st.floats(-8, 8), min_size=6, max_size=6),
    st.booleans(),
)
def test_any_bias_of_letters_cancels(
    opinions: list[float], bias: list[float], can_chat: bool
) -> None:
    answers = [f"answer {i}" for i in range(len(opinions))]

    def likely(prompt: str, letter: str) -> float:
        answer = shown(prompt, letter.strip())
        return opinions[answers.index(answer)] + bias["ABCDEF".index(letter.strip()[1])]

    model = FakeModel(likely=likely, can_chat=can_chat)
    total = sum(math.exp(opinion) for opinion in opinions)
    assert score(LETTERS, model, item(*answers)) == [
        pytest.approx(math.exp(opinions[0]) / total, abs=1e-9)
    ]


def test_free_answers_are_read_as_they_are() -> None:
    """A turn of a conversation starts with the answer; in a text a space stands before it."""
    seen: list[str] = []

    def likely(prompt: str, answer: str) -> float:
        seen.append(answer)
        assert "Options" not in prompt
        return math.log(0.6) if answer.strip() == "Yes" else math.log(0.2)

    for can_chat in (True, False):
        model = FakeModel(likely=likely, can_chat=can_chat)
        assert score(FREE, model, item(" Yes", " No")) == [pytest.approx(0.75)]
    assert seen == ["Yes", "No", " Yes", " No"]


def test_options_follow_the_last_question_of_a_conversation() -> None:
    turns = (
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hi"),
        Message(role="user", content="Tea?"),
    )
    prompts: list[str] = []

    def likely(prompt: str, _: str) -> float:
        prompts.append(prompt)
        return 0.0

    conversation = Item(id="c", messages=turns, matching="yes", others=("no",))
    assert score(LETTERS, FakeModel(likely=likely), conversation) == [0.5]
    assert prompts[0] == "Tea?\n\nOptions:\n(A) yes\n(B) no\n\nAnswer:"
    assert prompts[2] == "Tea?\n\nOptions:\n(A) no\n(B) yes\n\nAnswer:"


@pytest.mark.parametrize(
    "bad",
    [
        Item(id="a", prompt="?"),
        Item(id="a", prompt="?", matching="yes"),
        item("yes", "yes"),
        item(*(str(i) for i in range(27))),
        Item(
            id="a",
            messages=(Message(role="assistant", content="So?"),),
            matching="yes",
            others=("no",),
        ),
    ],
)
def test_items_that_cannot_be_scored_are_named(bad: Item) -> None:
    assert LETTERS.problem(bad)
