"""Models that do what a test says, behind the parts of `Model` that behaviours use."""

from collections.abc import Callable, Sequence
from typing import Any

from endoscope.artifacts import fingerprint_of


class Tokenizer:
    def __init__(self, can_chat: bool) -> None:
        self.can_chat = can_chat


class FakeModel:
    """Answers with `answer(prompt)`, and finds a continuation as likely as `likely(prompt, it)`."""

    name = "fake"
    adapter = None
    interventions = ()

    def __init__(
        self,
        answer: Callable[[str], str] = str,
        likely: Callable[[str, str], float] = lambda prompt, continuation: 0.0,
        can_chat: bool = True,
    ) -> None:
        self.answer, self.likely = answer, likely
        self.tokenizer = Tokenizer(can_chat)
        self.fingerprint = fingerprint_of({}, {})
        self.asked: list[dict[str, Any]] = []

    def generate(self, prompts: Sequence[Any], **how: Any) -> list[str]:
        self.asked.append(how)
        return [self.answer(_last(prompt)) for prompt in prompts]

    def log_likelihood(
        self, prompts: Sequence[Any], continuations: Sequence[str], **how: Any
    ) -> list[float]:
        pairs = zip(prompts, continuations, strict=True)
        return [self.likely(_last(prompt), continuation) for prompt, continuation in pairs]


def _last(prompt: Any) -> str:
    return str(prompt if isinstance(prompt, str) else prompt[-1]["content"])
