"""Long texts: nothing is missed at a seam, and nothing changes there."""

from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.scorers import NAMES, PatternScorer

from endoscope.guard import Guard, Policy, Rule, UnscoredError
from endoscope.guard.scoring import score
from endoscope.guard.windows import cut, join, join_late, last_break

SIZE = 240  # neighbours share 60: a name of 14 with 10 around it fits on each side of a seam
FILLER = "it rained again and 雨が降っていた。the road was wet e\u0301 👨‍👩‍👧 "


def guard(**options: object) -> Guard:
    scorer = PatternScorer(NAMES, max_characters=SIZE, **options)  # type: ignore[arg-type]
    return Guard(Policy(name="t", labels={"NAME": Rule()}, validators=False), scorer)


@given(st.text(max_size=400) | st.text("a b。\u0301", max_size=400), st.integers(9, 60))
def test_windows_cover_the_text_and_overlap(text: str, size: int) -> None:
    overlap = size // 3
    windows = cut(text, size, overlap)
    assert [w.start for w in windows[:1]] == [0] * bool(text)
    assert [w.end for w in windows[-1:]] == [len(text)] * bool(text)
    for left, right in pairwise(windows):
        assert left.start < right.start <= left.end - overlap
        assert right.end > left.end
    for left, right in zip(windows, windows[2:], strict=False):
        assert left.end <= right.start  # only neighbours overlap
    assert all(w.end - w.start <= size for w in windows)


@example("1" * 100, 18)  # in threes from where each window begins: they never agree
@given(st.text(max_size=300), st.integers(9, 60))
def test_joined_tokens_leave_no_character_out_and_stand_in_order(text: str, size: int) -> None:
    scorer = PatternScorer(NAMES, max_characters=size)
    windows = cut(text, size, size // 4)
    if not windows:
        return
    joined = join(windows, scorer.score([text[w.start : w.end] for w in windows]))
    covered = {i for start, end in joined.offsets.tolist() for i in range(start, end)}
    assert covered == set(range(len(text)))
    starts = joined.offsets[:, 0].tolist()
    assert starts == sorted(starts)


@pytest.mark.parametrize("name", ["Mary Ann Jones", "田中太郎", "ジョン・スミス"])
@pytest.mark.parametrize("context", [0, 10])
def test_a_name_is_found_at_every_place(name: str, context: int) -> None:
    """Also by a scorer that needs context on both sides: so no seam cuts it off."""
    ready = guard(context=context)
    base = FILLER * 9
    for place in range(context, len(base) - context):
        if base[place - 1 : place].isalpha() or not base[place : place + 1].isascii():
            continue  # would change the words around
        text = f"{base[:place]} {name} {base[place:]}"
        spans = [(s.start, s.end) for s in ready.scan(text)]
        assert spans == [(place + 1, place + 1 + len(name))], place


@settings(max_examples=40)
@given(st.data())
def test_moving_the_seam_loses_no_span(data: st.DataObject) -> None:
    pieces = st.sampled_from([*FILLER.split(), "Mary Jones", "田中太郎は", "John Smith's", "、"])
    text = " ".join(data.draw(st.lists(pieces, min_size=40, max_size=80)))
    whole = Guard(
        Policy(name="t", labels={"NAME": Rule()}), PatternScorer(NAMES, max_characters=10_000)
    ).scan(text)
    shift = data.draw(st.integers(0, SIZE))
    moved = guard().scan("x " * shift + text)
    assert [(s.start - 2 * shift, s.end - 2 * shift, s.label) for s in moved] == [
        s[:3] for s in whole
    ]


def test_each_token_comes_from_the_window_with_most_context_around_it() -> None:
    class WindowNumber(PatternScorer):
        def score(self, texts):  # type: ignore[no-untyped-def]
            scored = super().score(texts)
            for number, one in enumerate(scored):
                one.probabilities[:] = torch.tensor([1 - number / 100, number / 100])
            return scored

    scorer = WindowNumber({"NAME": "x"}, max_characters=100, tokens=r"[a-z] ?")
    text = "a b c d e f g h i j " * 20
    [scores] = score(scorer, [text])
    windows = cut(text, 100, 25)
    for (start, end), row in zip(scores.offsets.tolist(), scores.probabilities, strict=True):
        context = [min(start - w.start, w.end - end) for w in windows if w.start <= start < w.end]
        used = windows[round(row[1].item() * 100)]
        ours = min(start - used.start, used.end - end)
        # the ends of the document are no lack of context
        if start > 50 and end < len(text) - 50:
            assert ours >= max(context) - 2


def test_windows_shrink_where_characters_make_more_tokens_than_fit() -> None:
    scorer = PatternScorer({"NAME": "Mary"}, max_characters=200, tokens=r"\X")
    scorer.max_tokens = 60
    text = "a " * 100 + "Mary" + " b" * 100
    joined = score(scorer, [text])[0]
    flagged = joined.offsets[joined.probabilities[:, 1] > 0.5].tolist()
    assert flagged == [[n, n + 1] for n in range(200, 204)]
    assert all(scorer.fits(text[w.start : w.end]) for w in cut(text, 50, 12))
    scorer.max_tokens = 5
    with pytest.raises(UnscoredError, match="cannot read enough"):
        score(scorer, [text])


def test_cut_refuses_an_overlap_that_is_too_large() -> None:
    with pytest.raises(ValueError, match="at most a third"):
        cut("a" * 100, 30, 11)


@settings(max_examples=60)
@given(st.text("ab 雨。e\u0301", min_size=1, max_size=700), st.integers(0, 3))
def test_a_late_seam_takes_each_token_from_the_window_with_most_before_it(
    text: str, look_ahead: int
) -> None:
    scorer = PatternScorer({"NAME": "(?!)"}, max_characters=100, tokens=r"\X")
    windows = cut(text, 100, 25)
    scores = scorer.score([text[w.start : w.end] for w in windows])
    for number, one in enumerate(scores):  # each window's scores tell which it is
        one.probabilities[:] = torch.tensor([1 - number / 100, number / 100])
    late = join_late(text, windows, scores, look_ahead)
    covered = [i for start, end in late.offsets.tolist() for i in range(start, end)]
    assert covered == list(range(len(text)))  # once each, in order
    for (start, end), row in zip(late.offsets.tolist(), late.probabilities, strict=True):
        used = round(row[1].item() * 100)
        for number, window in enumerate(windows[:used]):  # an earlier one would have had too few
            inside = text[window.start : window.end]
            whole = window.start + (last_break(inside, len(inside)) or len(inside))
            places = [b + window.start for a, b in scores[number].offsets.tolist() if a < b]
            behind = [place for place in places if end < place <= whole]
            assert not window.start <= start < end <= whole or len(behind) < look_ahead


def test_a_scorer_that_looks_ahead_little_is_joined_late() -> None:
    text = "x " * 300
    scorer = PatternScorer({"NAME": "x"}, max_characters=100, look_ahead=2)
    [scores] = score(scorer, [text])
    windows = cut(text, 100, 25)
    parts = scorer.score([text[w.start : w.end] for w in windows])
    expected = join_late(text, windows, parts, 2)
    assert torch.equal(scores.offsets, expected.offsets)
    assert torch.equal(scores.probabilities, expected.probabilities)
