"""The prompted judge: what it asks, and how it takes the answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.tiny import tiny_model

from endoscope.engine.requests import Request, Step, TokenLogprob
from endoscope.guard.judge import PromptedJudge, says_no
from endoscope.guard.serving import Escalation
from endoscope.interventions import Intervention

TEXT = "I was told that Mary Jones had called."
MARY = Escalation("pii", "NAME", 0.7, "r", 16, 26)
Top = tuple[tuple[str, float], ...]


class Engine:
    """Answers with one token, whose alternatives are given."""

    def __init__(self, top: Top, finish: str = "length") -> None:
        self.top = tuple(TokenLogprob(i, text, value) for i, (text, value) in enumerate(top))
        self.finish = finish
        self.requests: list[Request] = []

    async def submit(self, request: Request) -> AsyncIterator[Step]:
        self.requests.append(request)
        yield Step(9, 1, "x", (0, 1), top=self.top, finish=self.finish)  # type: ignore[arg-type]

    def cancel(self, request_id: str) -> None: ...

    def intervene(self, request_id: str, interventions: Sequence[Intervention]) -> None: ...


def ask(engine: object, text: str = TEXT) -> bool:
    judge = PromptedJudge(engine, tiny_model().tokenizer)  # type: ignore[arg-type]
    return asyncio.run(judge(MARY, text))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("top", "confirmed"),
    [
        ((("Yes", -0.1), (" no", -2.5)), True),
        ((("yes", -2.5), (" No", -0.1)), False),
        ((("Maybe", -0.1), ("NO", -3.0)), False),
        ((("Maybe", -0.1), ("Not", -0.2)), True),  # neither
        ((), True),
    ],
)
def test_it_is_confirmed_unless_no_is_more_probable(top: Top, confirmed: bool) -> None:
    assert ask(Engine(top)) is confirmed


def test_a_failure_confirms() -> None:
    assert ask(Engine((("no", -0.1),), finish="error"))


def test_it_shows_the_value_in_its_context_and_nothing_that_follows() -> None:
    engine = Engine((("no", -0.1),))
    judge = PromptedJudge(engine, tiny_model().tokenizer)
    asyncio.run(judge(MARY, TEXT))  # type: ignore[arg-type]
    tokenizer = tiny_model().tokenizer
    asked = tokenizer.hf.decode(engine.requests[-1].token_ids, skip_special_tokens=True)
    assert "I was told that [[Mary Jones]]\n" in asked
    assert "the name of a person" in asked
    assert "called" not in asked
    first = engine.requests[-1]
    assert first.sampling.max_tokens == 1


def test_a_real_engine_answers() -> None:
    model = tiny_model()
    assert ask(model.engine) in (True, False)
    model.engine.close()


def test_the_best_spelling_counts() -> None:
    top = [TokenLogprob(1, "no", -3.0), TokenLogprob(2, " NO", -0.5), TokenLogprob(3, "yes", -1.0)]
    assert says_no(top)
