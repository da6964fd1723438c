"""The guard in a stream equals the guard over the finished text, and holds no more than it must."""

from itertools import pairwise
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.guard.streams import LABELS, Case, Scores, check, fresh, random_case, random_text, run
from tests.scorers import NAMES, PatternScorer

from endoscope.errors import InputError
from endoscope.guard import VALIDATORS, Guard, GuardStream, Policy, Rule, UnscoredError, finding
from endoscope.guard.graphemes import LONGEST, Graphemes, clusters
from endoscope.guard.stream import LONGEST_HOLD
from endoscope.guard.unfinished import searchable, unfinished, unfinished_from
from endoscope.guard.validators import plain
from endoscope.guard.words import share_words, words
from endoscope.readouts import TokenScores

SEEDS = st.integers(0, 2**32)
KEY_LINE = "MIIEow+/AbCd1234" * 4 + "\n"


@settings(max_examples=150)
@given(SEEDS, st.integers(1, 20))
def test_what_streams_is_the_redaction_of_the_finished_text(seed: int, fragments: int) -> None:
    random = Random(seed)
    check(random, random_case(random, fragments))


@settings(max_examples=4)
@given(SEEDS)
def test_also_where_most_of_a_long_text_is_forgotten(seed: int) -> None:
    random = Random(seed)
    check(random, random_case(random, 300))


@settings(max_examples=50)
@given(SEEDS, st.integers(1, 40))
def test_also_where_long_values_are_not_looked_at_for_every_token(
    seed: int, fragments: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "PATIENT", 4)
        random = Random(seed)
        check(random, random_case(random, fragments))


def test_a_long_key_is_read_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for every token from its beginning on, which on the event loop would take seconds."""
    read = 0

    def counted(pattern: Any, text: str, start: int, end: int) -> int:
        nonlocal read
        read += end - start
        return unfinished_from(pattern, text, start, end)

    monkeypatch.setattr(finding, "unfinished_from", counted)

    def work(lines: int) -> int:
        nonlocal read
        read = 0
        text = f"-----BEGIN PRIVATE KEY-----\n{lines * KEY_LINE}-----END PRIVATE KEY-----\nEnd."
        stream = GuardStream(Policy(name="t", labels={"SECRET": Rule()}), LABELS, {})
        out = ""
        for start in range(0, len(text), 4):
            piece = text[start : start + 4]
            out += stream.push(piece, scores_of([(start, start + len(piece), "O", 1.0)])).text
        assert out + stream.finish().text == "[SECRET]\nEnd."
        return read

    assert work(100) < 2.5 * work(50)


@pytest.mark.parametrize("length", range(255, 275))
def test_a_token_that_begins_before_its_word_waits_with_it(length: int) -> None:
    """A long number is a word of 256 characters; its first token begins with the line break, and
    the second, which overlaps it, at the word."""
    text = "\n" + "12-" * 100
    offsets = [(0, 2), (1, 3), *((i, i + 1) for i in range(3, len(text)))]
    rows = torch.full((len(offsets), len(LABELS)), 0.01)
    rows[:, 0] = 1 - 0.01 * (len(LABELS) - 1)
    rows[50, [0, 2]] = rows[50, [2, 0]]
    scores = TokenScores(torch.tensor(offsets), rows, LABELS)
    wanted = dict.fromkeys(LABELS[1:], 0.0)
    policy = Policy(name="t", labels={label: Rule(threshold=0.0) for label in wanted})
    case = Case(Guard(policy, Scores(wanted)), text, scores)
    stream = fresh(case)
    part = TokenScores(scores.offsets[: length - 1], rows[: length - 1], LABELS)
    released = [stream.push(text[:length], part, scored=length)]
    rest = TokenScores(scores.offsets[length - 1 :], rows[length - 1 :], LABELS)
    released += [stream.push(text[length:], rest), stream.finish()]
    assert [span for part in released for span in part.spans] == case.oracle().spans


@settings(max_examples=30)
@given(SEEDS)
def test_a_scorer_whose_tokens_straddle_names(seed: int) -> None:
    random = Random(seed)
    scorer = PatternScorer(NAMES)
    policy = Policy(name="t", labels=dict.fromkeys(NAMES, Rule(replacement="pseudonym")))
    guard = Guard(policy, scorer)
    text = random_text(random, 20)
    case = Case(guard, text, guard.scores(text))
    streamed = run(random, case, GuardStream(policy, scorer.labels, scorer.thresholds))
    assert streamed == tuple(case.oracle())


def scores_of(tokens: list[tuple[int, int, str, float]]) -> TokenScores:
    rows = torch.zeros(len(tokens), len(LABELS))
    for row, (_, _, label, probability) in enumerate(tokens):
        rows[row, LABELS.index(label)] = probability
        if label != "O":
            rows[row, 0] = 1 - probability
    return TokenScores(
        torch.tensor([t[:2] for t in tokens], dtype=torch.int64).reshape(-1, 2), rows, LABELS
    )


def stream(**rules: Rule) -> GuardStream:
    return GuardStream(
        Policy(name="t", labels=rules or {"NAME": Rule()}), LABELS, dict.fromkeys(LABELS[1:], 0.5)
    )


def tokens_of(text: str, names: str = "", start: int = 0) -> TokenScores:
    """Each word with the space before it; those of `names` are."""
    ends = [0, *(i for i, c in enumerate(text) if c in " \n" and i), len(text)]
    named = {word for name in names.split("|") for word in name.split()}
    return scores_of(
        [
            (start + a, start + b, "NAME", 0.9)
            if text[a:b].strip() in named
            else (start + a, start + b, "O", 1)
            for a, b in pairwise(ends)
        ]
    )


def test_a_name_goes_out_when_nothing_can_change_it_any_more() -> None:
    one = stream()
    assert one.push("Call Mary", scores_of([(0, 4, "O", 1)])).text == ""  # Call could go on
    released = one.push(" Jones", scores_of([(4, 9, "NAME", 0.9)]))
    assert released.text == "Call"
    rest = scores_of([(9, 15, "NAME", 0.9), (15, 19, "O", 1)])
    assert one.push(" now, ple", rest, scored=19).text == ""  # XIV could follow, and more
    released = one.push("ase.")
    assert released.text == " [NAME] now"
    assert [span[:3] for span in released.spans] == [(5, 15, "NAME")]
    assert released.settled == 19
    one.push("", scores_of([(19, 28, "O", 1)]))
    assert one.finish().settled == 28


def test_a_key_is_held_while_it_is_open() -> None:
    key = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "MIIEow+/AbCd1234\n" * 300
    one = stream(SECRET=Rule())
    out = one.push("Key: " + key, tokens_of("Key: " + key), scored=5 + len(key))
    assert out.text == "Key: "
    end = "-----END RSA " + "PRIVATE KEY-----\nbye" + " bye" * (len(key) // 32 // 4)
    out = one.push(end, tokens_of(end, start=5 + len(key)), scored=5 + len(key) + len(end))
    assert out.text.startswith("[SECRET]\nbye")  # at the latest, a part of its length later


def test_a_value_that_is_longer_than_can_be_held_fails() -> None:
    one = stream()
    text = "Mary\u3000" * (LONGEST_HOLD // 5 + 2)
    with pytest.raises(UnscoredError, match="longer than"):
        one.push(text, scores_of([(0, len(text), "NAME", 0.9)]), scored=len(text))
    with pytest.raises(UnscoredError):
        one.finish()


ENGLISH = (
    "The committee approved the budget for the new bridge on Tuesday, and the work is to begin in "
    "the spring. Residents, who had asked for it since the flood, were pleased; others said that "
    "the money would have been better spent on the school. "
) * 8
JAPANESE = (
    "昨日は朝から雨が降っていたので、予定していた登山を中止して、家で本を読むことにした。夕方になると空が晴れ、"
    "コンピューターの電源を入れて、来月の旅行について調べ始めた。"
) * 12


def lags(text: str, tokens: list[tuple[int, int]], look_ahead: int) -> list[int]:
    """Characters that have come and are not out, after each token."""
    one = stream(**dict.fromkeys(LABELS[1:], Rule()))
    held = []
    for row, (start, end) in enumerate(tokens):
        ready = row - look_ahead
        scores = scores_of([(*tokens[ready], "O", 1.0)]) if ready >= 0 else None
        scored = tokens[max(0, ready + 1)][0]
        held.append(end - one.push(text[start:end], scores, scored=scored).settled)
    return held


@pytest.mark.parametrize(
    ("text", "size", "mean", "most"), [(ENGLISH, 5, 20, 40), (JAPANESE, 2, 8, 20)]
)
def test_ordinary_prose_flows(text: str, size: int, mean: float, most: int) -> None:
    """With two tokens of look-ahead."""
    tokens = [(i, min(i + size, len(text))) for i in range(0, len(text), size)]
    held = lags(text, tokens, 2)
    assert sum(held) / len(held) < mean
    assert max(held) <= most


def test_it_forgets_what_is_settled() -> None:
    one = stream(**dict.fromkeys(LABELS[1:], Rule()))
    text = ENGLISH * 20
    for start in range(0, len(text), 100):
        part = text[start : start + 100]
        end = start + len(part)
        one.push(part, scores_of([(start, end, "O", 1)]), scored=end)
        assert len(one._text) < 2100
    assert one.finish().settled == len(text)


# It fails closed.


@pytest.mark.parametrize(
    "scores",
    [
        scores_of([(0, 3, "O", float("nan"))]),
        scores_of([(0, 3, "O", 1.5)]),
        scores_of([(0, 3, "O", 1)])._replace(labels=("O", "NAME")),
        scores_of([(0, 3, "O", 1)])._replace(probabilities=torch.ones(1, 2)),
        scores_of([(0, 3, "O", 1)])._replace(probabilities=torch.ones(2, len(LABELS))),
        scores_of([(5, 9, "O", 1)]),  # a gap
        scores_of([(0, 3, "O", 1), (4, 9, "O", 1), (0, 3, "O", 1)]),  # out of order
        scores_of([(0, 40, "O", 1)]),  # beyond the text
    ],
)
def test_scores_that_are_none_let_nothing_out(scores: TokenScores) -> None:
    one = stream()
    with pytest.raises(UnscoredError) as caught:
        one.push("Mary met her friends", scores)
    assert "Mary" not in str(caught.value)
    for _ in range(2):
        with pytest.raises(UnscoredError):
            one.push(" there", scores_of([(0, 26, "O", 1)]))
    with pytest.raises(UnscoredError):
        one.finish()


def test_text_without_scores_never_goes_out() -> None:
    one = stream()
    assert one.push("one two three ", scores_of([(0, 3, "O", 1), (3, 7, "O", 1)])).text == "one"
    with pytest.raises(UnscoredError, match="character 8"):
        one.finish()


def test_who_says_that_a_gap_was_scored_is_not_believed() -> None:
    one = stream()
    with pytest.raises(UnscoredError):
        one.push("one two three", scores_of([(0, 3, "O", 1)]), scored=8)


def test_a_stream_that_has_ended_takes_no_more() -> None:
    one = stream()
    assert one.finish() == ("", (), 0, ())
    with pytest.raises(InputError, match="ended"):
        one.push("x")


def test_a_fault_of_the_rules_lets_nothing_out_and_quotes_nothing() -> None:
    one = stream()
    one._finder.advance = None  # type: ignore[assignment,method-assign]
    with pytest.raises(UnscoredError, match=r"the rules failed \(TypeError\)"):
        one.push("Mary Jones", scores_of([(0, 10, "O", 1)]))


# Actions.


def test_stop_ends_the_text_before_the_value() -> None:
    one = stream(NAME=Rule(action="stop"), IP=Rule())
    text = "At 10.1.2.3 was Mary Jones and then 10.9.8.7 came"
    released = one.push(text, tokens_of(text, "Mary Jones"), scored=len(text))
    assert released.text == "At [IP] was "
    assert [(f.action, f.span.start, f.span.end) for f in released.fired] == [("stop", 16, 26)]
    assert one.stopped
    assert one.done
    assert one.push(" more", None).text == ""
    assert one.finish() == ("", (), 16, ())


def test_steer_fires_and_replaces() -> None:
    one = stream(NAME=Rule(action="steer", interventions=[]))
    text = "It was Mary Jones who came there"
    released = one.push(text, tokens_of(text, "Mary Jones"), scored=len(text))
    assert released.text == "It was [NAME] who came"
    assert [f.action for f in released.fired] == ["steer"]


@pytest.mark.parametrize("confirmed", [True, False])
def test_what_is_escalated_waits_for_its_decision(confirmed: bool) -> None:
    one = stream(NAME=Rule(action="escalate", judge="x"), IP=Rule(replacement="pseudonym"))
    text = "Mary Jones at 10.1.2.3 met John Smith at noon, it was"
    released = one.push(text, tokens_of(text, "Mary Jones|John Smith"), scored=len(text))
    assert released.text == ""
    assert [f.span[:2] for f in released.fired] == [(0, 10), (27, 37)]
    assert one.finish().text == ""
    assert not one.done
    assert one.decide(27, False).text == ""  # the first one still waits
    released = one.decide(0, confirmed)
    first = "[NAME]" if confirmed else "Mary Jones"
    assert released.text == f"{first} at [IP_1] met John Smith at noon, it was"
    assert [s.label for s in released.spans] == ["NAME"] * confirmed + ["IP"]
    assert one.done
    with pytest.raises(InputError, match="waits"):
        one.decide(0, True)


def test_offline_these_actions_redact() -> None:
    text = "It was Mary Jones"
    tokens = tokens_of(text, "Mary Jones")
    for rule in (
        Rule(action="stop"),
        Rule(action="steer", interventions=[]),
        Rule(action="escalate", hook="http://127.0.0.1/"),
    ):
        guard = Guard(Policy(name="t", labels={"NAME": rule}), Scores({"NAME": 0.5}))
        assert Case(guard, text, tokens).oracle().redacted == "It was [NAME]"


# What the rules see, bounded on both sides.


@settings(max_examples=300)
@given(SEEDS, st.integers(1, 6))
def test_what_begins_before_the_unfinished_is_decided(seed: int, fragments: int) -> None:
    """For every form and every cut: the matches before it are those of the whole text."""
    random = Random(seed)
    text = plain(random_text(random, fragments)[:300])
    cut = random.randrange(len(text) + 1)
    known = searchable(text[:cut])
    for validator in VALIDATORS:
        place = unfinished_from(validator.unfinished, known, 0)
        start = random.randrange(place + 1)
        whole = [m.span() for m in validator.form.finditer(text, start) if m.start() < place]
        early = [m.span() for m in validator.form.finditer(known, start) if m.start() < place]
        if validator.overlap == 0:
            assert early == whole, validator.name


def test_a_lookahead_that_comes_to_the_end_is_seen() -> None:
    """With a single character to fail at, the engine skipped this place."""
    import regex

    pattern = unfinished(regex.compile(r"[A-Z]{3}(?!-[a-z])"))
    assert unfinished_from(pattern, "x ABC-", 0) == 2
    assert unfinished_from(pattern, "x ABC-d", 0) == 7


@pytest.mark.parametrize("text", ["a" * 600, "1" * 600, "ア" * 600, "1,234" * 200, "1.2" * 300])
def test_words_without_end_are_cut_alike_from_anywhere(text: str) -> None:
    whole = list(words(text))
    assert all(end - start <= 256 for start, end in whole)
    for start, _ in whole:
        assert list(words(text, start)) == [word for word in whole if word[0] >= start]


def test_tokens_of_a_long_word_share_in_parts() -> None:
    tokens = scores_of([(i, i + 100, "NAME", 0.9 if i < 300 else 0.1) for i in range(0, 600, 100)])
    shared = share_words("a" * 600, tokens).probabilities[:, 1]
    assert shared[0] == pytest.approx(0.9, abs=1e-4)
    assert shared[5] == pytest.approx(0.1, abs=1e-4)


def test_clusters_without_end_are_cut_alike_from_anywhere() -> None:
    text = "e" + "\u0301" * 100 + "👨" + "\u200d👩" * 40 + "🇯🇵" * 3
    whole = list(clusters(text))
    assert max(end - start for start, end in whole) == LONGEST
    for start, _ in whole:
        assert list(clusters(text, start)) == [c for c in whole if c[0] >= start]
        assert Graphemes(text, start).cover(start + 1, start + 1)[0] in {a for a, _ in whole} | {
            start + 1
        }
