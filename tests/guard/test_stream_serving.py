"""Guards over a generation: what goes out with which tokens, and what is done."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.streams import greedy, opened, truth
from tests.engine.streams import readout as tiny_readout
from tests.guard.streams import LABELS, Case, Scores, fresh, random_case
from tests.scorers import TOKENS

from endoscope.engine.requests import Finish, Request, Step
from endoscope.errors import InputError
from endoscope.guard import Guard, GuardStream, Policy, Rule
from endoscope.guard.document import DocumentStream
from endoscope.guard.scoring import UnscoredError
from endoscope.guard.serving import Escalation, Generating, guarded
from endoscope.guard.together import Guarded
from endoscope.guard.watching import ReadingWatch
from endoscope.interventions import Intervention
from endoscope.readouts import Calibration, Pooling, TokenScores
from endoscope.readouts.incremental import PositionScores

PROMPT = 3
ADD = {"kind": "add", "site": "resid_post.1", "vector": [1.0, 0.0], "strength": 2.0}


class Engine:
    """Streams steps that are given."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.given = 0
        self.cancelled: list[str] = []
        self.intervened: list[tuple[int, tuple[Intervention, ...]]] = []

    async def submit(self, request: Request) -> AsyncIterator[Step]:
        for step in self.steps:
            await asyncio.sleep(0)
            self.given += 1
            yield step

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)

    def intervene(self, request_id: str, interventions: Sequence[Intervention]) -> None:
        self.intervened.append((self.given, tuple(interventions)))


def steps_of(
    text: str,
    offsets: Sequence[tuple[int, int]],
    rows: torch.Tensor,
    *,
    look_ahead: int = 2,
    names: Sequence[str] = ("pii",),
    finish: Finish = "stop",
) -> list[Step]:
    """What an engine gives: a token that ends inside a character comes before its text does."""
    steps, come = [], 0
    order = [PositionScores(PROMPT + i, row) for i, row in enumerate(rows)]
    for index, (start, end) in enumerate(offsets):
        last = index == len(offsets) - 1
        more = [other for other in offsets[index + 1 :] if other[0] < end]
        until = len(text) if last else start if more else end
        until = max(come, until)
        first = max(0, index - look_ahead) if index >= look_ahead else len(order)
        ready = order[first:] if last else order[first : index - look_ahead + 1]
        if last and index < look_ahead:
            ready = order
        steps.append(
            Step(
                PROMPT + index,
                100 + index,
                text[come:until],
                (start, end),
                readings={name: tuple(ready) for name in names},
                logprob=-1.0,
                finish=finish if last else None,
            )
        )
        come = until
    return steps


def request() -> Request:
    return Request("r", (1,) * PROMPT)


def collect(
    engine: Generating,
    watches: Sequence[ReadingWatch],
    asked: Request | None = None,
    **options: object,
) -> list[Guarded]:
    async def run() -> list[Guarded]:
        parts = guarded(engine, asked or request(), watches, **options)  # type: ignore[arg-type]
        return [part async for part in parts]

    return asyncio.run(run())


def of_words(text: str, flagged: str = "") -> tuple[list[tuple[int, int]], torch.Tensor]:
    import regex

    offsets = [m.span() for m in regex.finditer(TOKENS, text)]
    rows = torch.zeros(len(offsets), len(LABELS))
    for row, (start, end) in enumerate(offsets):
        name = text[start:end].strip() in flagged.split()
        rows[row, 1 if name else 0] = 0.9
        rows[row, 0 if name else 1] = 0.1
    return offsets, rows


def watch(rule: Rule, label: str = "NAME", name: str = "pii") -> ReadingWatch:
    policy = Policy(name=name, labels={label: rule})
    stream = GuardStream(policy, LABELS, {label: 0.5})
    return ReadingWatch("pii", stream, PROMPT)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 3))
def test_a_generation_goes_out_as_its_text_is_redacted(seed: int, look_ahead: int) -> None:
    random = Random(seed)
    case = random_case(random, 8)
    pairs = [
        (offsets, row)
        for offsets, row in zip(
            case.scores.offsets.tolist(), case.scores.probabilities, strict=True
        )
    ]
    if not pairs or pairs[-1][0][1] != len(case.text):
        return
    offsets = [tuple(pair) for pair, _ in pairs]
    rows = torch.stack([row for _, row in pairs])
    steps = steps_of(case.text, offsets, rows, look_ahead=look_ahead)  # type: ignore[arg-type]
    engine = Engine(steps)
    parts = collect(engine, [ReadingWatch("pii", fresh(case), PROMPT)])
    expected = case.oracle()
    assert "".join(part.text for part in parts) == expected.redacted
    assert [f.span for part in parts for f in part.spans] == expected.spans
    assert parts[-1].finish == "stop"
    # Every token comes, in order, and none that tells a replaced value.
    out = [step for part in parts for step in part.steps]
    assert [step.position for step in out] == [step.position for step in steps]
    hidden = [s for s in expected.spans if s.label in case.guard.policy.redacted]
    for step in out:
        inside = any(s.start < step.span[1] and step.span[0] < s.end for s in hidden)
        assert (step.token_id == -1) is inside
        assert (step.logprob is None) is inside
    assert not engine.cancelled


TEXT = "Yesterday Mary Jones went to the market and there she met John Smith , who knew her."


def test_tokens_of_held_text_are_held_with_it() -> None:
    offsets, rows = of_words(TEXT, "Mary Jones")
    come, out = 0, 0
    for part in collect(Engine(steps_of(TEXT, offsets, rows)), [watch(Rule(action="flag"))]):
        out += len(part.text)
        assert all(step.span[1] <= out for step in part.steps)
        come += len(part.steps)
    assert come == len(offsets)


def test_stop_cancels_and_tells_nothing_of_what_follows() -> None:
    offsets, rows = of_words(TEXT, "John Smith")
    engine = Engine(steps_of(TEXT, offsets, rows))
    parts = collect(engine, [watch(Rule(action="stop"))])
    place = TEXT.index("John")
    assert "".join(part.text for part in parts) == TEXT[:place]
    assert parts[-1].finish == "content_filter"
    assert all(step.span[1] <= place for part in parts for step in part.steps)
    assert [a.fired.action for part in parts for a in part.actions] == ["stop"]
    assert engine.cancelled == ["r"]
    assert engine.given < len(engine.steps)


def test_steer_puts_the_interventions_on_from_there() -> None:
    offsets, rows = of_words(TEXT, "Mary Jones")
    engine = Engine(steps_of(TEXT, offsets, rows))
    parts = collect(engine, [watch(Rule(action="steer", interventions=[ADD]))])
    assert "".join(part.text for part in parts) == TEXT.replace("Mary Jones", "[NAME]")
    [(when, [added])] = engine.intervened
    assert added.kind == "add"  # type: ignore[attr-defined]
    assert 3 < when < 9


def test_steering_is_put_on_once() -> None:
    offsets, rows = of_words(TEXT, "Mary Jones John Smith")
    engine = Engine(steps_of(TEXT, offsets, rows))
    parts = collect(engine, [watch(Rule(action="steer", interventions=[ADD]))])
    assert len([acted for part in parts for acted in part.actions]) == 2
    assert len(engine.intervened) == 1


def judged(answer: object, delay: float = 0.0):  # type: ignore[no-untyped-def]
    asked: list[tuple[Escalation, str]] = []

    async def judge(escalation: Escalation, text: str) -> bool:
        asked.append((escalation, text))
        await asyncio.sleep(delay)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    return judge, asked


@pytest.mark.parametrize(
    ("answer", "delay", "redacted"),
    [(True, 0, True), (False, 0, False), (False, 9, True), (ValueError("Mary"), 0, True)],
)
def test_a_judge_decides_and_silence_is_a_yes(answer: object, delay: float, redacted: bool) -> None:
    offsets, rows = of_words(TEXT, "Mary Jones John Smith")
    judge, asked = judged(answer, delay)
    engine = Engine(steps_of(TEXT, offsets, rows))
    rule = Rule(action="escalate", judge="me", timeout=0.05)
    parts = collect(engine, [watch(rule)], judges={"me": judge})
    expected = TEXT
    if redacted:
        expected = TEXT.replace("Mary Jones", "[NAME]").replace("John Smith", "[NAME]")
    assert "".join(part.text for part in parts) == expected
    assert [e.start for e, _ in asked] == [TEXT.index("Mary"), TEXT.index("John")]
    assert asked[0][0].record() == {
        "policy": "pii",
        "label": "NAME",
        "request": "r",
        "start": 10,
        "end": 20,
        "score": pytest.approx(0.9),
    }
    assert [f.span.start for p in parts for f in p.spans] == ([10, 58] if redacted else [])


def test_a_hook_gets_no_text() -> None:
    offsets, rows = of_words(TEXT, "Mary Jones")
    posted = []

    async def hook(url: str, record: dict[str, object]) -> bool:
        posted.append((url, record))
        return False

    rule = Rule(action="escalate", hook="http://127.0.0.1:1/x")
    parts = collect(Engine(steps_of(TEXT, offsets, rows)), [watch(rule)], hook=hook)
    assert "".join(part.text for part in parts) == TEXT
    [(url, record)] = posted
    assert url == "http://127.0.0.1:1/x"
    assert set(record) == {"policy", "label", "score", "request", "start", "end"}
    assert "Mary" not in str(record)


def test_who_is_to_be_asked_must_be_there() -> None:
    offsets, rows = of_words(TEXT)
    engine = Engine(steps_of(TEXT, offsets, rows))
    with pytest.raises(InputError, match="no judge 'me'"):
        collect(engine, [watch(Rule(action="escalate", judge="me"))])
    with pytest.raises(InputError, match="hook"):
        collect(engine, [watch(Rule(action="escalate", hook="http://127.0.0.1/"))])
    assert engine.given == 0


@pytest.mark.parametrize("broken", ["nan", "gap"])
def test_a_text_that_is_not_scored_ends_the_request(broken: str) -> None:
    offsets, rows = of_words(TEXT)
    if broken == "nan":
        rows[8] = float("nan")
    steps = steps_of(TEXT, offsets, rows)
    if broken == "gap":
        steps = [
            Step(
                s.position, s.token_id, s.text, s.span, {} if i > 8 else s.readings, finish=s.finish
            )
            for i, s in enumerate(steps)
        ]
    engine = Engine(steps)
    parts = collect(engine, [watch(Rule())])
    text = "".join(part.text for part in parts)
    assert parts[-1].finish == "error"
    assert "could not score" in str(parts[-1].error)
    assert TEXT.startswith(text)
    assert len(text) <= offsets[8][0]
    assert sum(len(part.steps) for part in parts) <= 8
    assert engine.cancelled == ["r"] or broken == "gap"


@pytest.mark.parametrize("finish", ["cancelled", "error"])
def test_what_is_held_when_a_request_fails_never_goes_out(finish: Finish) -> None:
    offsets, rows = of_words(TEXT, "Mary Jones")
    steps = steps_of(TEXT, offsets, rows)[:4]
    steps.append(Step(PROMPT + 4, -1, "", (20, 20), finish=finish))
    parts = collect(Engine(steps), [watch(Rule())])
    assert parts[-1].finish == finish
    assert "".join(part.text for part in parts) == "Yesterday"
    assert [step.token_id for part in parts for step in part.steps] == [100]


def test_tokens_of_a_stop_text_are_no_text() -> None:
    """Their span goes beyond the text that the engine gives."""
    text = "It was Mary Jones"
    offsets, rows = of_words(text + " END", "Mary Jones")
    steps = steps_of(text + " END", offsets, rows)
    steps[-1] = Step(steps[-1].position, 9, "", steps[-1].span, steps[-1].readings, finish="stop")
    parts = collect(Engine(steps), [watch(Rule())])
    assert "".join(part.text for part in parts) == "It was [NAME]"
    assert parts[-1].finish == "stop"


def test_text_held_back_as_a_stop_text_does_not_come_out_with_the_next_token() -> None:
    text = "It was Mary of course"
    offsets, rows = of_words(text, "Mary")
    steps = steps_of(text, offsets, rows)
    name = next(i for i, (_, end) in enumerate(offsets) if text[:end].endswith("Mary"))
    held, after = steps[name], steps[name + 1]
    steps[name] = dataclasses.replace(held, text="")
    steps[name + 1] = dataclasses.replace(after, text=held.text + after.text)
    parts = collect(Engine(steps), [watch(Rule())])
    assert "".join(part.text for part in parts) == "It was [NAME] of course"
    out = [step for part in parts for step in part.steps]
    assert len(out) == len(steps)
    assert not any("Mary" in step.text for step in out)
    assert [step.token_id == -1 for step in out] == [i == name for i in range(len(out))]


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_several_guards_take_out_what_any_of_them_does(seed: int) -> None:
    random = Random(seed)
    one, other = random_case(random, 8), random_case(random, 8)
    other = Case(other.guard, one.text, one.scores)
    offsets = [tuple(pair) for pair in one.scores.offsets.tolist()]
    if not offsets or offsets[-1][1] != len(one.text):
        return
    steps = steps_of(one.text, offsets, one.scores.probabilities)  # type: ignore[arg-type]
    watches = [ReadingWatch("pii", fresh(case), PROMPT) for case in (one, other)]
    parts = collect(Engine(steps), watches)
    out = "".join(part.text for part in parts)
    hidden = {
        i
        for case in (one, other)
        for span in case.oracle().spans
        if span.label in case.guard.policy.redacted
        for i in range(span.start, span.end)
    }
    kept = "".join(c for i, c in enumerate(one.text) if i not in hidden)
    marks = [
        (span.start, f"[{span.label}")
        for case in (one, other)
        for span in case.oracle().spans
        if span.label in case.guard.policy.redacted
    ]
    # Without the marks, which hold letters that some texts have too, what is left is what was kept.
    rest = iter(out)
    assert all(char in rest for char in kept)
    if not marks:
        assert out == one.text


def test_of_two_guards_the_first_has_what_both_find() -> None:
    offsets, rows = of_words(TEXT, "Mary Jones John Smith")
    first = watch(Rule(), name="a")
    second = watch(Rule(replacement="pseudonym"), name="b")
    parts = collect(Engine(steps_of(TEXT, offsets, rows)), [first, second])
    assert "".join(part.text for part in parts) == TEXT.replace("Mary Jones", "[NAME]").replace(
        "John Smith", "[NAME]"
    )


# Guards that judge a text as a whole.


def document(action: str, threshold: float = 0.6) -> DocumentStream:
    rule = (
        Rule(threshold=threshold, action="steer", interventions=[ADD])
        if action == "steer"
        else Rule(threshold=threshold, action=action)  # type: ignore[arg-type]
    )
    policy = Policy(name="harm", scope="document", labels={"harmful": rule})
    return DocumentStream(policy, ("O", "harmful"), {"harmful": threshold})


def harmful(text: str, word: str) -> tuple[list[tuple[int, int]], torch.Tensor]:
    """The probabilities of the text so far, high from a word on."""
    offsets, _ = of_words(text)
    first = next(i for i, (start, end) in enumerate(offsets) if text[start:end].strip() == word)
    reached = torch.arange(len(offsets)) >= first
    harm = torch.where(reached, 0.7, 0.1)
    return offsets, torch.stack([1 - harm, harm], dim=1)


def test_a_document_guard_stops_before_the_token_that_reaches_the_threshold() -> None:
    offsets, rows = harmful(TEXT, "Jones")
    engine = Engine(steps_of(TEXT, offsets, rows))
    parts = collect(engine, [ReadingWatch("pii", document("stop"), PROMPT)])
    assert "".join(part.text for part in parts) == TEXT[: TEXT.index(" Jones")]
    assert parts[-1].finish == "content_filter"
    [acted] = [action for part in parts for action in part.actions]
    assert acted.fired.span[:3] == (0, TEXT.index(" Jones") + len(" Jones"), "harmful")


@pytest.mark.parametrize("action", ["flag", "steer"])
def test_a_threshold_of_the_whole_text_acts_once(action: str) -> None:
    offsets, rows = harmful(TEXT, "Jones")
    engine = Engine(steps_of(TEXT, offsets, rows))
    parts = collect(engine, [ReadingWatch("pii", document(action), PROMPT)])
    assert "".join(part.text for part in parts) == TEXT
    assert [a.fired.action for part in parts for a in part.actions] == [action]
    assert len(engine.intervened) == (action == "steer")


def test_a_character_waits_for_the_score_of_every_token_in_it() -> None:
    stream = document("stop")

    def scores(place: tuple[int, int], harm: float) -> TokenScores:
        return TokenScores(
            torch.tensor([place]), torch.tensor([[1 - harm, harm]]), ("O", "harmful")
        )

    released = [
        stream.push("a \U0001f600 b", scores((0, 2), 0.1)),
        stream.push("", scores((2, 3), 0.1), scored=2),  # one of the two tokens of a character
        stream.push("", scores((2, 3), 0.9), scored=3),
    ]
    assert "".join(part.text for part in released) == "a "


def test_a_document_guard_believes_nobody_who_scored_nothing() -> None:
    stream = document("stop")
    assert stream.push("some text", scored=9).text == ""
    with pytest.raises(UnscoredError):
        stream.finish()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("look_ahead", [0, 2])
@pytest.mark.parametrize("pooling", ["max", "mean", "last", "softmax", "top_k_mean:2"])
def test_a_document_guard_judges_the_conversation_so_far(pooling: str, look_ahead: int) -> None:
    """On a model, against the same text read at once: the prompt counts."""
    model = opened("llama")
    probe = dataclasses.replace(
        tiny_readout("resid_post.1", look_ahead=look_ahead),
        calibration=Calibration((2.0, 0.5), (0.3, -0.2)),
        pooling=Pooling.parse(pooling),
    )
    asked = greedy("r", (256, *b"a prompt "), 12, {"harm": probe})
    steps = list(model.engine.iterate(asked))
    ids = [*asked.token_ids, *(step.token_id for step in steps)]
    read = truth(model, ids, len(asked.token_ids), (), probe.spec.sites)
    rows = {site: values[1:] for site, values in read.values.items()}  # BOS is not read
    logits = probe.head(probe.spec.features(rows, torch.zeros(len(ids) - 1, dtype=torch.long)))
    pool = Pooling.parse(pooling)
    first = len(asked.token_ids)
    expected = [
        float(probe.calibration.probabilities(pool(logits[:until]))[1])
        for until in range(first, len(ids))
    ]
    text = "".join(step.text for step in steps)
    ordered = sorted({0.0, 1.0, *expected})
    for number, (low, high) in enumerate(pairwise(ordered)):
        if high - low < 1e-4:
            continue
        limit = (low + high) / 2
        reached = next((i for i, value in enumerate(expected) if value >= limit), None)
        policy = Policy(name="harm", scope="document", labels={"x": Rule(action="stop")})
        stream = DocumentStream(policy, probe.labels, {"x": limit})
        again = dataclasses.replace(asked, id=str(number))
        parts = collect(model.engine, [ReadingWatch("harm", stream, first)], again)
        out = "".join(part.text for part in parts)
        if reached is None:
            assert out == text
            assert parts[-1].finish == "length"
        else:
            place = steps[reached].span[0]
            assert text[:place].startswith(out)
            assert place - len(out) <= 3  # within a character that was not complete
            assert parts[-1].finish == "content_filter"
    model.engine.close()


def test_a_document_guard_and_one_for_values_together() -> None:
    offsets, harm = harmful(TEXT, "met")
    _, rows = of_words(TEXT, "Mary Jones")
    steps = steps_of(TEXT, offsets, rows)
    other = steps_of(TEXT, offsets, harm, names=("harm",))
    both = [
        Step(a.position, a.token_id, a.text, a.span, {**a.readings, **b.readings}, finish=a.finish)
        for a, b in zip(steps, other, strict=True)
    ]
    watches = [ReadingWatch("harm", document("stop"), PROMPT), watch(Rule())]
    parts = collect(Engine(both), watches)
    expected = TEXT[: TEXT.index(" met")].replace("Mary Jones", "[NAME]")
    assert "".join(part.text for part in parts) == expected
    assert parts[-1].finish == "content_filter"


def test_scopes_are_not_mixed_up() -> None:
    policy = Policy(name="x", labels={"NAME": Rule()})
    with pytest.raises(InputError, match="scope: document"):
        DocumentStream(policy, ("O", "NAME"), {})
    whole = Policy(name="x", scope="document", labels={"NAME": Rule(action="flag")})
    with pytest.raises(InputError, match="whole texts"):
        GuardStream(whole, ("O", "NAME"), {})
    with pytest.raises(InputError, match="whole texts"):
        Guard(whole, Scores({"NAME": 0.5}))
