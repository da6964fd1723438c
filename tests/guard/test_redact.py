"""Redaction: nothing of a value survives, nothing else changes."""

import hashlib
import hmac
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.guard import KeySource, Policy, Redaction, Replacer, Rule, Span, redact

KEY = "0123456789abcdef0123456789abcdef"
LABELS = {"A": Rule(), "B": Rule(replacement="pseudonym"), "C": Rule(action="flag")}
POLICY = Policy(name="t", labels=LABELS)
TEXTS = st.text(max_size=60) | st.text(
    "ae\u0301\u200d👨👩🇯🇵שלום田中は\r\n \u202e\0\ud800", max_size=60
)


@st.composite
def texts_with_spans(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(TEXTS)
    if not text:
        return text, []
    start = st.integers(0, len(text) - 1)
    spans = draw(
        st.lists(
            start.flatmap(
                lambda s: st.builds(
                    Span,
                    st.just(s),
                    st.integers(s + 1, len(text)),
                    st.sampled_from("ABC"),
                    st.floats(0, 1),
                )
            ),
            max_size=8,
        )
    )
    return text, spans


@given(texts_with_spans())
def test_redacted_characters_are_gone_and_all_others_stay(case: tuple[str, list[Span]]) -> None:
    text, spans = case
    redaction = redact(text, spans, POLICY)
    gone = {i for s in spans if s.label in "AB" for i in range(s.start, s.end)}
    # Take the redacted text apart again: what stands between the replacements is the text outside.
    rest, position = redaction.redacted, 0
    for span in redaction.spans:
        if span.label == "C":
            continue
        outside = text[position : span.start]
        assert rest.startswith(outside)
        rest = rest[len(outside) :]
        replacement = "[A]" if span.label == "A" else rest[: rest.index("]") + 1]
        assert rest.startswith(replacement)
        if span.label == "B":
            assert replacement.startswith("[B_")
            assert replacement[3:-1].isdigit()
        rest = rest[len(replacement) :]
        position = span.end
    assert rest == text[position:]
    covered = {i for s in redaction.spans if s.label != "C" for i in range(s.start, s.end)}
    assert covered == gone


@given(texts_with_spans())
def test_spans_are_in_order_and_do_not_overlap(case: tuple[str, list[Span]]) -> None:
    spans = redact(*case, POLICY).spans
    assert all(a.end <= b.start for a, b in pairwise(spans))


def test_a_flagged_label_never_shields_a_redacted_one() -> None:
    text = "12 Main St, tel 020 7946 0958"
    spans = [Span(0, len(text), "C", 0.9), Span(16, len(text), "A", 0.6)]
    assert redact(text, spans, POLICY).redacted == "12 Main St, tel [A]"


def test_the_same_value_gets_the_same_pseudonym_across_texts() -> None:
    replacer = Replacer(POLICY)
    first = redact("Mary met John", [Span(0, 4, "B", 1), Span(9, 13, "B", 1)], replacer)
    second = redact("MARY Ｍary Ann", [Span(0, 4, "B", 1), Span(5, 9, "B", 1)], replacer)
    assert first.redacted == "[B_1] met [B_2]"
    assert second.redacted == "[B_1] [B_1] Ann"
    assert redact("John", [Span(0, 4, "B", 1)], POLICY).redacted == "[B_1]"
    assert "mary" not in repr(vars(replacer)).casefold()


def test_hashes_are_keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_KEY", KEY)
    policy = Policy(
        name="t", labels={"A": Rule()}, replacement="hash", key=KeySource(env="GUARD_KEY")
    )
    expected = hmac.new(KEY.encode(), b"A\0mary jones", hashlib.sha256).hexdigest()[:12]
    result = redact("Mary  Jones!", [Span(0, 11, "A", 1)], policy)
    assert result.redacted == f"[A:{expected}]!"
    monkeypatch.setenv("GUARD_KEY", KEY[::-1])
    assert redact("Mary  Jones!", [Span(0, 11, "A", 1)], policy).redacted != result.redacted
    assert Replacer(policy).identity not in ("", KEY)


@pytest.mark.parametrize(
    "span", [Span(0, 9, "A", 1), Span(-1, 2, "A", 1), Span(2, 2, "A", 1), Span(0, 2, "X", 1)]
)
def test_spans_that_do_not_belong_to_the_text_are_refused(span: Span) -> None:
    with pytest.raises(ValueError, match="not a span of this text"):
        redact("abc", [span], POLICY)


def test_a_redaction_shows_no_value() -> None:
    spans = [Span(0, 4, "A", 1.0), Span(9, 13, "A", 0.9)]
    redaction = redact("Mary met John", spans, POLICY)
    assert repr(redaction) == "Redaction('[A] met [A]': A 2)"
    assert repr(Redaction("x", [])) == "Redaction('x': nothing found)"
    assert Counter(s.label for s in redaction.spans) == {"A": 2}
