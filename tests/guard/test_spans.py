"""From token scores to spans, and spans that overlap."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope.guard import Span
from endoscope.guard.graphemes import Graphemes
from endoscope.guard.spans import from_scores, resolve
from endoscope.readouts import TokenScores

LABELS = ("O", "NAME", "PHONE", "ADDRESS")


def scores(tokens: list[tuple[str, str, float]]) -> tuple[str, TokenScores]:
    """Text and scores of (token, label, probability)."""
    text, offsets, rows = "", [], []
    for token, label, probability in tokens:
        offsets.append((len(text), len(text) + len(token)))
        text += token
        row = [0.0] * len(LABELS)
        row[LABELS.index(label)] = probability
        if label != "O":
            row[0] = 1 - probability
        rows.append(row)
    return text, TokenScores(torch.tensor(offsets), torch.tensor(rows), LABELS)


def found(*tokens: tuple[str, str, float], threshold: float = 0.5) -> list[tuple[str, str]]:
    text, given_scores = scores(list(tokens))
    spans = from_scores(text, given_scores, dict.fromkeys(LABELS[1:], threshold))
    return [(text[s.start : s.end], s.label) for s in spans]


def test_neighbours_are_one_span_with_the_mean_of_their_probabilities() -> None:
    text, given_scores = scores(
        [("I met", "O", 1), (" Mary", "NAME", 0.9), (" Jones", "NAME", 0.6), (" there", "O", 1)]
    )
    [span] = from_scores(text, given_scores, {"NAME": 0.5})
    assert span[:3] == (6, 16, "NAME")
    assert span.score == pytest.approx(0.75)


def test_a_title_is_no_name_unless_the_probe_is_sure() -> None:
    """The end of one too: 佐藤係|長."""
    for before, title in ("佐藤係", "長"), ("", "部長"), ("", "監督"):
        assert found((before, "O", 1), (title, "NAME", 0.8), ("が", "O", 1)) == []
        assert found((before, "O", 1), (title, "NAME", 0.95), ("が", "O", 1)) == [(title, "NAME")]


def test_threshold_is_reached_inclusively_and_per_label() -> None:
    text, given_scores = scores([("Mary", "NAME", 0.5), (" 12", "PHONE", 0.5)])
    assert [s.label for s in from_scores(text, given_scores, {"NAME": 0.5, "PHONE": 0.6})] == [
        "NAME"
    ]
    assert from_scores(text, given_scores, {}) == []


def test_most_probable_of_the_labels_that_reach_their_threshold() -> None:
    offsets, row = torch.tensor([[0, 4]]), torch.tensor([[0.1, 0.3, 0.5, 0.1]])
    given_scores = TokenScores(offsets, row, LABELS)
    [span] = from_scores("12ab", given_scores, {"NAME": 0.2, "PHONE": 0.6})
    assert span.label == "NAME"


@pytest.mark.parametrize(
    ("joiner", "joined"),
    [
        (" ", True),
        ("　", True),
        ("・", True),
        ("=", True),
        ("-", True),
        ("  ", False),
        ("、", False),
    ],
)
def test_joiners_inside_names(joiner: str, joined: bool) -> None:
    spans = found(("ジョン", "NAME", 0.9), (joiner, "O", 1), ("スミス", "NAME", 0.9))
    assert len(spans) == (1 if joined else 2)


def test_middle_dot_separates_kanji_names_and_joins_foreign_ones() -> None:
    listed = [("酒井忠勝", "NAME", 0.9), ("・", "NAME", 0.9), ("井上正就", "NAME", 0.9)]
    assert found(*listed) == [("酒井忠勝", "NAME"), ("井上正就", "NAME")]
    foreign = [("藤子", "NAME", 0.9), ("・F・", "NAME", 0.9), ("不二雄", "NAME", 0.9)]
    assert found(*foreign) == [("藤子・F・不二雄", "NAME")]


@pytest.mark.parametrize(
    ("tokens", "names"),
    [
        ([("田中", 0.9), ("商店", 0.8), ("の", 0.4), ("林", 0.9)], ["田中商店", "林"]),
        ([("木", 0.9), ("の", 0.6), ("実", 0.7), ("ナナ", 0.9)], ["木の実ナナ"]),
        ([("木", 0.9), ("の実", 0.4), ("ナナ", 0.9)], ["木の実ナナ"]),
        ([("こと", 0.9), ("の", 0.4)], ["ことの"]),
    ],
)
def test_a_particle_that_is_likelier_none_of_a_name_ends_it(
    tokens: list[tuple[str, float]], names: list[str]
) -> None:
    spans = found(*((token, "NAME", p) for token, p in tokens), threshold=0.35)
    assert spans == [(name, "NAME") for name in names]


def test_a_name_ends_at_a_line_break_but_an_address_does_not() -> None:
    tokens = [("Mary", "", 0.9), ("\n", "", 0.9), ("John", "", 0.9)]
    names = [(t, "NAME", p) for t, _, p in tokens]
    places = [(t, "ADDRESS", p) for t, _, p in tokens]
    assert found(*names) == [("Mary", "NAME"), ("John", "NAME")]
    assert found(*places) == [("Mary\nJohn", "ADDRESS")]


def test_hyphens_inside_numbers() -> None:
    tokens = [("090", "PHONE", 0.9), ("-", "O", 1), ("1234", "PHONE", 0.9)]
    assert found(*tokens) == [("090-1234", "PHONE")]


def test_special_tokens_and_no_tokens() -> None:
    empty = TokenScores(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 4), LABELS)
    assert from_scores("", empty, {"NAME": 0.5}) == []
    special = TokenScores(torch.tensor([[0, 0]]), torch.tensor([[0.0, 1, 0, 0]]), LABELS)
    assert from_scores("Mary", special, {"NAME": 0.5}) == []


SPANS = st.lists(
    st.builds(
        lambda start, length, label, score: Span(start, start + length, label, score),
        st.integers(0, 40),
        st.integers(1, 15),
        st.sampled_from("ABC"),
        st.sampled_from([0.5, 0.75, 1.0]),
    ),
    max_size=12,
)


@given(SPANS, st.randoms())
def test_resolving_covers_the_same_characters_once_whatever_the_order(
    spans: list[Span], random: "st.random.Random"
) -> None:
    settled = resolve(spans)
    covered = [i for s in settled for i in range(s.start, s.end)]
    assert covered == sorted({i for s in spans for i in range(s.start, s.end)})
    shuffled = spans[:]
    random.shuffle(shuffled)
    assert resolve(shuffled) == settled


@given(SPANS)
def test_labels_that_come_first_keep_every_character(spans: list[Span]) -> None:
    wanted = {i for s in spans if s.label == "A" for i in range(s.start, s.end)}
    settled = resolve(spans, {"A"})
    assert {i for s in settled if s.label == "A" for i in range(s.start, s.end)} == wanted


def test_longer_wins_then_higher_score_and_the_rest_stays() -> None:
    long, short = Span(0, 10, "A", 0.5), Span(8, 14, "B", 1.0)
    assert resolve([short, long]) == [long, Span(10, 14, "B", 1.0)]
    assert resolve([Span(0, 4, "A", 0.5), Span(0, 4, "B", 1.0)]) == [Span(0, 4, "B", 1.0)]
    assert resolve([Span(0, 4, "A", 0.5), Span(2, 6, "A", 0.9)]) == [Span(0, 6, "A", 0.9)]


@pytest.mark.parametrize(
    ("text", "cut", "whole"),
    [
        ("e\u0301a", (0, 1), (0, 2)),
        ("a👨‍👩‍👧b", (2, 3), (1, 6)),
        ("🇯🇵🇬🇧", (1, 3), (0, 4)),
        ("a\r\nb", (0, 2), (0, 3)),
        ("が\u3099", (1, 2), (0, 2)),
        ("plain", (1, 3), (1, 3)),
    ],
)
def test_graphemes_are_whole(text: str, cut: tuple[int, int], whole: tuple[int, int]) -> None:
    assert Graphemes(text).cover(*cut) == whole


@pytest.mark.parametrize(
    ("label", "text", "found"),
    [
        ("PHONE", "Office", False),
        ("PHONE", "０３", True),
        ("EMAIL", "com", False),
        ("EMAIL", "ann@x", True),
        ("DATE_OF_BIRTH", "born", False),
        ("DATE_OF_BIRTH", "昭和六十年", True),
        ("ID", "number", False),
        ("IP", "::1", True),
        ("IP", "10.0.0.1", True),
        ("IP", "fe80:0:0:1", True),
        ("IP", "41", False),
        ("IP", "abc41d", False),
        ("NAME", "Ann", True),
    ],
)
def test_a_value_has_what_every_value_of_its_label_has(label: str, text: str, found: bool) -> None:
    scores = TokenScores(torch.tensor([[0, len(text)]]), torch.tensor([[0.1, 0.9]]), ("O", label))
    assert bool(from_scores(text, scores, {label: 0.5})) is found


@pytest.mark.parametrize("period", [("O", 0.9), ("NAME", 0.9)])
def test_two_people_in_two_sentences_are_two_spans(period: tuple[str, float]) -> None:
    text, given_scores = scores(
        [
            ("Ken", "NAME", 0.9),
            (" Smith", "NAME", 0.9),
            (".", *period),
            (" John", "NAME", 0.9),
            (" F", "NAME", 0.9),
            (".", *period),
            (" Hill", "NAME", 0.9),
        ]
    )
    found = from_scores(text, given_scores, {"NAME": 0.5})
    assert [text[s.start : s.end] for s in found] == ["Ken Smith", "John F. Hill"]
