"""Answers of requests that were alone, and what they settle about the same among others.

Equal means (design, "Equal answers"): the same tokens up to the first position at which the two
most probable tokens of the solo run are closer than 1e-2, and there log-probabilities within 1e-3.
"""

from dataclasses import dataclass, field
from typing import Any

import httpx

from recipes.load.mix import Ask

NARROW = 1e-2
CLOSE = 1e-3


@dataclass
class Heard:
    """What came of one request.

    Attributes:
        text: of the answer.
        tokens: of the answer.
        logprobs: of the tokens.
        gaps: between the two most probable tokens, at each.
        readings: by position.
        finish: why it ended.
        refused: the code of the error that came instead.
    """

    text: str = ""
    tokens: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    readings: dict[int, float] = field(default_factory=dict)
    finish: str | None = None
    refused: str | None = None

    def take(self, choice: dict[str, Any]) -> None:
        """Take a whole choice or a piece of one, of either API."""
        message = choice.get("message") or choice.get("delta") or choice
        self.text += message.get("content") or message.get("text") or ""
        ours = message.get("endoscope") or {}
        for position, value in ours.get("readings", {}).get("random", ()):
            self.readings[position] = value
        self.finish = choice["finish_reason"] or self.finish
        found = choice.get("logprobs")
        if found and "content" in found:
            for token in found["content"]:
                top = sorted((one["logprob"] for one in token["top_logprobs"]), reverse=True)
                self._token(token["token"], token["logprob"], top)
        elif found:
            for text, own, others in zip(
                found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True
            ):
                self._token(text, own, sorted(others.values(), reverse=True))

    def _token(self, text: str, own: float, top: list[float]) -> None:
        self.tokens.append(text)
        self.logprobs.append(own)
        self.gaps.append(top[0] - top[1] if len(top) > 1 else 0.0)  # two that look alike


@dataclass(frozen=True)
class Reference:
    """The solo answer of a request.

    Attributes:
        heard: it.
        certain: how many of its tokens are the same whatever is in the batch.
    """

    heard: Heard
    certain: int

    @property
    def whole(self) -> bool:
        """Whether all of it is certain."""
        return self.certain == len(self.heard.tokens)


async def reference(client: httpx.AsyncClient, ask: Ask) -> Reference:
    """Ask alone."""
    response = await client.post(ask.path, json=ask.body)
    response.raise_for_status()
    heard = Heard()
    heard.take(response.json()["choices"][0])
    narrow = (at for at, gap in enumerate(heard.gaps) if gap < NARROW)
    return Reference(heard, next(narrow, len(heard.tokens)))


def differs(found: Heard, known: Reference, *, all_of_it: bool) -> str | None:
    """Say what is wrong with an answer; None: it equals the solo one.

    Args:
        found: the answer, or its beginning.
        known: the solo answer.
        all_of_it: whether the answer came to its end.
    """
    solo, upto = known.heard, min(known.certain, len(found.tokens))
    if found.tokens[:upto] != solo.tokens[:upto]:
        return "tokens"
    pairs = zip(found.logprobs[:upto], solo.logprobs[:upto], strict=True)
    if any(abs(a - b) > CLOSE for a, b in pairs):
        return "logprobs"
    prompt = len(solo.readings) - len(solo.tokens)
    for position, value in found.readings.items():
        known_there = position < prompt + upto and position in solo.readings
        if known_there and abs(value - solo.readings[position]) > CLOSE:
            return "readings"
    if not all_of_it or not known.whole:
        return None
    if (found.text, found.finish) != (solo.text, solo.finish):
        return "text"
    return None if found.readings.keys() == solo.readings.keys() else "positions"
