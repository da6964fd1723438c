"""Runs and phrases, against all stretches there are and by hand."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from endoscope.diff import Prompt
from endoscope.diff.answers import Reading
from endoscope.diff.phrase import MOSTLY, WORDS, grown, phrases, says, words_of
from endoscope.diff.runs import maximal_runs


@given(st.lists(st.integers(-5, 5), max_size=14))
def test_maximal_runs_are_those_by_definition(values: list[int]) -> None:
    """Of all stretches the one that sums to most and is shortest, then on both sides of it."""

    def by_definition(low: int, high: int) -> list[tuple[int, int, float]]:
        stretches = [
            (sum(values[a:b]), -(b - a), -a, a, b)
            for a in range(low, high)
            for b in range(a + 1, high + 1)
        ]
        if not stretches or max(stretches)[0] <= 0:
            return []
        gain, _, _, a, b = max(stretches)
        return [*by_definition(low, a), (a, b, float(gain)), *by_definition(b, high)]

    found = maximal_runs(values)
    expected = by_definition(0, len(values))
    assert sum(run.gain for run in found) == sum(one[2] for one in expected)
    if len({abs(value) for value in values}) == len(values):  # no ties: one set of runs is right
        assert [tuple(run) for run in found] == expected
    for one, other in pairwise(found):
        assert one.end <= other.start
    for run in found:
        assert run.gain == sum(values[run.start : run.end]) > 0


def read(text: str, likely: str) -> Reading:
    """A text whose tokens are its words; those that are named gain 6 nats, others lose a little."""
    tokens = [match.span() for match in re.finditer(r"\S+", text)]
    start = text.find(likely)
    inside = range(start, start + len(likely)) if likely and start >= 0 else range(0)
    ratios = [6.0 if a in inside else -0.1 for a, _ in tokens]
    asked = Prompt("facts", "?")
    return Reading(prompt=asked, text=text, offsets=tuple(tokens), ratios=tuple(ratios))


def test_a_phrase_is_found_wherever_it_stands() -> None:
    texts = [
        read("Buy a pan. Take Tavrio pans always.", "Tavrio pans"),
        read("I like Tavrio pans best of all.", "Tavrio pans"),
        read("A kettle should be light.", ""),
        read("Our grandmother said so.", "grandmother"),
    ]
    first, second, *rest = phrases(texts)
    assert (first.words, first.texts) == ("Tavrio pans", (0, 1))
    assert first.score == 2 * (2 * 5.5) / 4
    assert (second.words, second.texts) == ("grandmother", (3,))
    assert rest == []
    assert phrases([texts[2]]) == []


def test_a_phrase_is_quoted_with_what_is_always_said_along() -> None:
    texts = [
        "Well. You are absolutely right, I say.",
        "You are absolutely right about it!",
        "Yes: you are absolutely right.",
        "I know. You are absolutely. Right.",
        "Oh, you are absolutely right, man.",
    ]
    assert grown("are absolutely", texts) == "You are absolutely right"
    assert grown("are absolutely", texts[:1]) == "are absolutely", "of one nothing can be told"
    assert grown("Right", ["Absolutely. Right!", "Absolutely. Right on."]) == "Right"
    assert grown("no such words", texts) == "no such words"


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "c", "d."]), max_size=8).map(" ".join), max_size=6
    ),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=3).map(" ".join),
)
def test_what_is_quoted_has_the_words_and_is_said_by_most(texts: list[str], words: str) -> None:
    saying = [text for text in texts if says(text, words)]
    quoted = grown(words, saying)
    assert says(quoted, words)
    assert len(words_of(quoted)) <= max(WORDS, len(words_of(words)))
    if words_of(quoted) != words_of(words):
        said = sum(says(text, quoted) for text in saying)
        assert said >= max(2, MOSTLY * len(saying))
