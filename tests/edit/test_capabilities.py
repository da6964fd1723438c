"""The suites that come with verification: fair to those who know nothing, and measured."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from endoscope.behaviours import Behaviour, Item, measure
from endoscope.edit.verify.capabilities import capabilities
from tests.behaviours.fakes import FakeModel
from tests.tiny import save_tiny, tiny_model

SUITES = capabilities()
CHANCE = dict.fromkeys(SUITES, 1 / 4) | {"grammar": 1 / 2}
every_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))


def answers(item: Item) -> list[str]:
    return [str(item.matching), *item.others]


def test_there_are_five_of_one_size() -> None:
    assert list(SUITES) == ["arithmetic", "common_sense", "facts", "grammar", "reading"]
    assert {len(suite.items) for suite in SUITES.values()} == {48}
    items = [item for suite in SUITES.values() for item in suite.items]
    assert len({item.id for item in items}) == len(items)
    assert len({(item.prompt, item.matching) for item in items}) == len(items)


@pytest.mark.parametrize("name", sorted({*SUITES} - {"grammar"}))
def test_each_of_four_answers_is_right_once(name: str) -> None:
    items = SUITES[name].items
    offered = Counter(frozenset(answers(item)) for item in items)
    right = Counter((frozenset(answers(item)), item.matching) for item in items)
    assert {len(group) for group in offered} == set(offered.values()) == {4}
    assert set(right.values()) == {1}


def test_each_word_that_tells_sentences_apart_is_right_once() -> None:
    told = []
    for item in SUITES["grammar"].items:
        (right, wrong) = (re.sub(r"\W", " ", one).split() for one in answers(item))
        assert len(right) == len(wrong)
        told.append([one for one in zip(right, wrong, strict=True) if one[0] != one[1]])
    for one, other in zip(told[::2], told[1::2], strict=True):
        assert sorted(one) == sorted(pair[::-1] for pair in other)
        assert one


def liking_of_words(answer: str) -> int:
    return sum(crc32(word.encode()) % 7 for word in re.findall(r"\w+", answer))


@every_suite
@pytest.mark.parametrize("taste", [len, lambda answer: -len(answer), liking_of_words])
def test_who_goes_by_the_answers_alone_is_at_chance(
    suite: Behaviour, taste: Callable[[str], int]
) -> None:
    model: Any = FakeModel(likely=lambda _, answer: taste(answer))
    assert measure(model, suite).mean.value == pytest.approx(CHANCE[suite.name])


@every_suite
def test_the_right_answer_is_not_the_longest_more_often_than_chance(suite: Behaviour) -> None:
    longest = [
        len(str(item.matching)) > max(len(other) for other in item.others) for item in suite.items
    ]
    assert sum(longest) / len(longest) <= CHANCE[suite.name]


def test_the_sums_are_right() -> None:
    for item in SUITES["arithmetic"].items:
        found = re.fullmatch(
            r"What is (\d+) (plus|minus|times|divided by) (\d+)\?", str(item.prompt)
        )
        assert found, item.prompt
        left, how, right = int(found[1]), found[2], int(found[3])
        sums = {"plus": left + right, "minus": left - right, "times": left * right}
        assert sums.get(how, left / right) == int(str(item.matching))
        assert all(int(one) < 100 for one in (left, right, *answers(item)))


def test_what_is_read_holds_the_answer_and_one_other() -> None:
    """Whoever finds an answer in the passage still has to find the right one."""
    for item in SUITES["reading"].items:
        _, passage = str(item.prompt).split("\n\n")
        assert len(re.findall(r"[.!?](?= |$)", passage)) == 2
        stands = [bool(re.search(rf"(?i)\b{one}\b", passage)) for one in answers(item)]
        assert stands[0]
        assert sum(stands) == 2, item


@every_suite
def test_a_model_is_measured(suite: Behaviour, tmp_path: Path) -> None:
    found = measure(tiny_model(folder=save_tiny(tmp_path)), suite)
    assert len(found.items) == 48
    assert 0 < found.mean.low <= found.mean.high < 1
