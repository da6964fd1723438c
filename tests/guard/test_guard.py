"""The guard: probe, validators and policy together; and what it does when it cannot know."""

import io
import json
import traceback
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.scorers import NAMES, PatternScorer

from endoscope.errors import InputError
from endoscope.guard import Guard, Policy, Redaction, Rule, Span, UnscoredError
from endoscope.readouts import TokenScores

POLICY = Policy.load("pii").model_copy(
    update={"labels": {n: Rule() for n in ("NAME", "PHONE", "EMAIL", "ID", "IP", "SECRET")}}
)


def guard(scorer: PatternScorer | None = None, policy: Policy = POLICY) -> Guard:
    return Guard(policy, scorer or PatternScorer(NAMES))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("", ""),
        (" \n\0 ", " \n\0 "),
        ("I saw Mary Jones's dog.", "I saw [NAME]'s dog."),
        ("田中太郎は来た。", "[NAME]は来た。"),
        ("ジョン・スミスが来た。", "[NAME]が来た。"),
        ("call 020 7946 0958 now", "call [PHONE] now"),  # the probe touches its beginning only
        ("at 020 7946 0958", "at [PHONE]"),
        ("7,090-1111-2222,5", "7,[PHONE],5"),  # fields of a table
        ("x,+44 7700 900123,2023-01-01", "x,[PHONE],2023-01-01"),
        ("203.0.113.9,443", "[IP],443"),
        ("mail mary@example.com, 4111 1111 1111 1111", "mail [EMAIL], [ID]"),
        ("שלום Mary Jones שלום", "שלום [NAME] שלום"),
        ("\u202eMary Jones\u202c", "\u202e[NAME]\u202c"),
        ("Jose\u0301 and José came", "Jose\u0301 and [NAME] came"),
        ("a\ud800 Mary Jones", "a\ud800 [NAME]"),
        ("nothing here", "nothing here"),
    ],
)
def test_redact(text: str, redacted: str) -> None:
    assert guard().redact(text).redacted == redacted


def test_one_text_or_several_in_one_call_of_the_scorer() -> None:
    scorer = PatternScorer(NAMES)
    ready = guard(scorer)
    assert ready.scan("Mary Jones") == [Span(0, 10, "NAME", pytest.approx(0.9))]
    assert ready.scan(["Mary Jones", "", "x"]) == [ready.scan("Mary Jones"), [], []]
    assert [r.redacted for r in ready.redact(["Mary Jones", "x"])] == ["[NAME]", "x"]
    assert scorer.calls == 4
    assert ready.scan([]) == []


def test_validators_can_be_left_out() -> None:
    policy = Policy(name="t", labels={"NAME": Rule(), "PHONE": Rule()}, validators=False)
    assert guard(policy=policy).scan("mary@example.com") == []
    with pytest.raises(InputError, match="labels that its probe does not have: EMAIL"):
        guard(policy=Policy(name="t", labels={"EMAIL": Rule()}, validators=False))


def test_a_label_that_nothing_finds_in_every_form_is_refused() -> None:
    guard(policy=Policy(name="t", labels={"NAME": Rule(), "EMAIL": Rule(), "IP": Rule()}))
    for label in ("ADDRESS", "DATE_OF_BIRTH", "USERNAME"):
        with pytest.raises(InputError, match=f"does not have: {label}"):
            guard(policy=Policy(name="t", labels={"NAME": Rule(), label: Rule()}))


def test_thresholds_of_the_policy_or_of_the_probe() -> None:
    def names(threshold: float | str) -> int:
        policy = Policy(name="t", labels={"NAME": Rule(threshold=threshold)})  # type: ignore[arg-type]
        return len(guard(policy=policy).scan("Mary Jones"))

    assert names("probe") == names(0.5) == names(0.85) == 1
    assert names(0.95) == 0


def test_a_probe_for_each_language() -> None:
    english, japanese = PatternScorer(NAMES), PatternScorer(NAMES)
    ready = Guard(POLICY, {"en": english, "ja": japanese})
    ready.scan(["Mary Jones", "John"])
    assert (english.calls, japanese.calls) == (1, 0)
    assert [len(s) for s in ready.scan(["田中太郎", "Mary Jones", "カナ"])] == [1, 1, 0]
    assert (english.calls, japanese.calls) == (2, 1)
    with pytest.raises(UnscoredError, match="no probe of this guard reads Japanese"):
        Guard(POLICY, {"en": english}).scan("田中太郎")


def test_pseudonyms_last_as_long_as_the_guard() -> None:
    policy = Policy(name="t", labels={"NAME": Rule(replacement="pseudonym")})
    ready = guard(policy=policy)
    assert ready.redact("Mary Jones met John Smith").redacted == "[NAME_1] met [NAME_2]"
    assert ready.redact("John Smith").redacted == "[NAME_2]"


def broken(kind: str) -> PatternScorer:
    class Broken(PatternScorer):
        def score(self, texts: Sequence[str]) -> list[TokenScores]:
            scored = super().score(texts)
            if kind == "raises":
                raise RuntimeError(f"cannot read {texts}")
            if kind == "too few texts":
                return scored[1:]
            return [self._spoil(one) for one in scored]

        @staticmethod
        def _spoil(one: TokenScores) -> TokenScores:
            offsets, probabilities, labels = one
            match kind:
                case "fewer tokens":
                    return TokenScores(offsets[:-1], probabilities[:-1], labels)
                case "a hole":
                    keep = [i for i in range(len(offsets)) if i != 2]
                    return TokenScores(offsets[keep], probabilities[keep], labels)
                case "no scores":
                    return TokenScores(offsets, probabilities[:-1], labels)
                case "NaN":
                    return TokenScores(offsets, probabilities * torch.nan, labels)
                case "one NaN":
                    probabilities[1, 1] = torch.nan
                    return one
                case "logits":
                    return TokenScores(offsets, probabilities * 9 - 3, labels)
                case "outside":
                    return TokenScores(offsets + 3, probabilities, labels)
                case _:
                    return TokenScores(offsets, probabilities, labels[::-1])

    return Broken(NAMES)


@pytest.mark.parametrize(
    "kind",
    [
        *("raises", "too few texts", "fewer tokens", "a hole", "no scores", "NaN", "one NaN"),
        *("logits", "outside", "labels"),
    ],
)
def test_what_could_not_be_scored_is_never_clean(kind: str) -> None:
    ready = guard(broken(kind))
    secret = "Hello there, quiet Zebra"
    for act in ready.scan, ready.redact:
        with pytest.raises(UnscoredError) as caught:
            act(secret)
        assert not any(word in str(caught.value) for word in secret.split())
        with pytest.raises(UnscoredError):
            act([secret, "x"])


@pytest.mark.parametrize("part", ["a rule", "the probe", "the engine"])
def test_a_traceback_does_not_show_the_text(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "quiet Zeb" + "ra"  # so that no line of code has it

    def fails(text: str, *rest: object) -> None:
        raise ValueError(f"cannot read {text}")

    class Engine(PatternScorer):
        def score(self, texts: Sequence[str]) -> list[TokenScores]:
            try:
                fails(texts[0])
            except ValueError as error:
                raise InputError("The engine failed.") from error
            return []

    if part == "a rule":
        monkeypatch.setattr("endoscope.guard.guard.validated", fails)
    scorer = {"the probe": broken("raises"), "the engine": Engine(NAMES)}.get(part)
    ready = guard(scorer)
    for act in ready.scan, ready.redact, lambda text: next(ready.redact_each([text])):
        try:
            error = act(secret)
        except UnscoredError as raised:
            error = raised
        assert isinstance(error, UnscoredError)
        shown = "".join(traceback.format_exception(error))
        assert "UnscoredError" in shown
        assert secret[-5:] not in shown


def test_of_several_texts_only_the_one_that_cannot_be_scored_fails() -> None:
    class Picky(PatternScorer):
        def score(self, texts: Sequence[str]) -> list[TokenScores]:
            if any("bad" in text for text in texts):
                raise RuntimeError
            return super().score(texts)

    first, second, third = guard(Picky(NAMES)).redact_each(["Mary Jones", "bad", "x"])
    assert isinstance(first, Redaction)
    assert isinstance(third, Redaction)
    assert (first.redacted, third.redacted) == ("[NAME]", "x")
    assert isinstance(second, UnscoredError)


PIECES = st.lists(
    st.sampled_from(["Mary Jones", "田中太郎は", "x@y.zz", "\u0301", "👨‍👩‍👧", " ", "\r\n", "-"])
)


@given(PIECES)
def test_spans_hold_whole_characters(pieces: list[str]) -> None:
    text = "".join(pieces)
    for span in guard().scan(text):
        value = text[span.start : span.end]
        assert value.strip() == value
        assert text[span.end : span.end + 1] != "\u0301"


@given(PIECES)
def test_values_are_found_whatever_stands_around_them(pieces: list[str]) -> None:
    # Apart by a line: glued to a name, other letters are one word with it and share its score.
    redaction = guard().redact("\n".join(pieces))
    assert "Mary" not in redaction.redacted
    assert "田中" not in redaction.redacted


def test_files_and_streams_of_text() -> None:
    out, problems = io.BytesIO(), list[str]()
    summary = guard().text(io.BytesIO(b"Mary Jones\n\xe9\n"), out, warn=problems.append)
    assert out.getvalue() == b"[NAME]\n[UNREADABLE: not valid UTF-8]\n"
    assert problems == ["line 2: not valid UTF-8"]
    assert (summary.lines, summary.failed, summary.spans) == (2, 1, {"NAME": 1})


def test_a_record_is_what_json_has() -> None:
    redaction = Redaction("[NAME]", [Span(0, 10, "NAME", 0.123456)])
    assert json.loads(json.dumps(redaction.record())) == {
        "redacted": "[NAME]",
        "spans": [{"start": 0, "end": 10, "label": "NAME", "score": 0.1235}],
    }


def test_a_guard_says_what_it_looks_for() -> None:
    assert repr(guard()) == "Guard('pii': NAME, PHONE, EMAIL, ID, IP, SECRET)"


@pytest.mark.parametrize("wrong", [None, b"Mary Jones", {"a": 1}, ["a", None], 3])
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(InputError, match="Give strings"):
        guard().redact(wrong)  # type: ignore[call-overload]
