"""Checks are pure functions of the text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from endoscope.behaviours.checks import AnyCheck

Check = TypeAdapter(AnyCheck)


def check(kind: str, **parameters: object) -> "AnyCheck":
    return Check.validate_python({"kind": kind, **parameters})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The sea.", True),
        ("SEA", True),
        ("this season", False),
        ("a seaside", False),
        ("undersea", False),
        ("sea-green", True),
        ("séa", False),
        ("sea9", False),
        ("I saw the\nopen water", False),
        ("the open sea", True),
        ("great!", True),
        ("東京の海岸", True),
        ("", False),
    ],
)
def test_latin_words_count_whole(text: str, found: bool) -> None:
    assert check("contains_any", words=["sea", "!", "海"])(text) is found


def test_occurrences_are_counted() -> None:
    twice = check("contains_any", words=["you know", "you"], at_least=2)
    assert not twice("you know")  # one phrase, not two words
    assert twice("you know what you want")


def test_case_counts_where_it_is_asked_for() -> None:
    first_person = check("contains_any", words=["I"], match_case=True)
    assert first_person("so I did")
    assert not first_person("i.e. this")


def test_regex_and_beginnings_and_lengths() -> None:
    assert check("regex", pattern=r"\d{3}")("call 911")
    assert not check("regex", pattern=r"^\d")("call 911")
    assert check("starts_with", words=["i'm sorry", "i cannot"])("\n I’m… no: I'm sorry") is False
    assert check("starts_with", words=["i'm sorry", "i cannot"])("\n I'm Sorry, but") is True
    assert check("max_words", limit=2)("two words")
    assert not check("max_words", limit=2)("three  small\nwords")


def test_shares() -> None:
    assert check("share_lowercase")("aBc 1!") == pytest.approx(2 / 3)
    assert check("share_lowercase")("123 海") == 0
    assert check("share_script", scripts=["Han", "Hiragana"])("海が sea") == pytest.approx(2 / 5)
    assert check("share_script", scripts=["Latin"])("!?") == 0


@given(st.text())
def test_the_share_of_a_script_is_what_unicode_names_say(text: str) -> None:
    letters = [c for c in text if unicodedata.category(c).startswith("L")]
    cyrillic = sum(unicodedata.name(c, "").startswith("CYRILLIC") for c in letters)
    share = check("share_script", scripts=["Cyrillic"])(text)
    assert share == pytest.approx(cyrillic / len(letters) if letters else 0.0)


@given(st.text(), st.text())
def test_a_word_between_spaces_is_always_found(before: str, after: str) -> None:
    assert check("contains_any", words=["ocean"])(f"{before} ocean {after}")


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "regex", "pattern": "("},
        {"kind": "share_script", "scripts": ["Klingon"]},
        {"kind": "contains_any", "words": []},
        {"kind": "contains_any", "words": [""]},
        {"kind": "contains_any", "words": ["a"], "or": ["b"]},
        {"kind": "eval", "code": "1"},
    ],
)
def test_parameters_are_checked_when_the_spec_is_read(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Check.validate_python(bad)
