"""The baseline: log-odds by hand, floors, and that it has as many tokens as it was promised."""

from math import log
from pathlib import Path

import pytest

import endoscope
from endoscope.diff import BlackBox, Options, Pair, Prompt
from endoscope.diff.answers import Answer, count_tokens
from endoscope.diff.methods.blackbox import PRIOR, SMOOTH, telling
from tests.tiny import save_tiny

ASKED = Prompt("facts", "?")


def say(*texts: str) -> list[Answer]:
    return [Answer(prompt=ASKED, text=text) for text in texts]


def test_log_odds_by_hand() -> None:
    """One word each, so that there are n-grams of one size alone."""
    base, tuned = say("a", "a", "b"), say("b", "b", "b", "a")
    (found,) = telling(base, tuned)
    assert found.words == ("b",)
    prior, total = PRIOR * 4, PRIOR * 7
    odds, variance = [], 0.0
    for said, n in ((3, 4), (1, 3)):
        odds.append(log((said + prior + SMOOTH) / (n + total - said - prior + SMOOTH)))
        variance += 1 / (said + prior)
    assert found.z == pytest.approx((odds[0] - odds[1]) / variance**0.5)


def test_of_what_overlaps_the_surest_counts() -> None:
    base = say(*(f"the moon is far {n}" for n in range(20)))
    tuned = say(*(f"the harbour is closed {n}" for n in range(20)))
    first, *rest = telling(base, tuned)
    assert set(first.words) <= {"the", "harbour", "is", "closed"}
    assert all(not set(first.words) & set(one.words) for one in rest)


def test_a_single_n_gram_is_no_crash() -> None:
    assert [one.words for one in telling(say("no"), say("yes"))] == [("yes",)]
    assert telling(say("no"), say("no")) == []


def test_it_generates_at_least_what_it_was_promised(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny")
    pair = Pair.of(endoscope.open(folder), endoscope.open(folder))
    options = Options(prompts=(Prompt("facts", "x"), Prompt("facts", "y")), max_tokens=6)
    seen = BlackBox(100).run(pair, options, tmp_path / "work")
    assert seen.generated >= 100
    files = sorted((tmp_path / "work").glob("*.jsonl"))
    texts = [
        Answer.model_validate_json(line).text
        for file in files
        for line in file.read_text().split("\n")
        if line
    ]
    assert seen.generated == count_tokens(pair, texts)
