"""An engine without a model: it keeps the contract, and what it says is known beforehand.

After `say:` in a prompt comes what is answered; else the answer is "Hello there.". Tokens are
bytes. An intervention makes all letters capitals, a seed is appended. The score of a position p
is (p % 10) / 10, of a readout with the label NAME 0.9 within "Mary Jones".
"""

import asyncio
import codecs
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import torch

from endoscope.engine.requests import Request, Step, TokenLogprob
from endoscope.interventions import Intervention
from endoscope.models import TextTokenizer
from endoscope.models.byte_level import byte_symbols
from endoscope.readouts.incremental import PositionScores
from tests.tiny import byte_tokenizer

TEMPLATE = (
    "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<answer>' }}{% endif %}"
)
LOGPROB = -0.25
_SYMBOLS = {value: symbol for symbol, value in byte_symbols().items()}


def fake_tokenizer() -> TextTokenizer:
    hf = byte_tokenizer()
    hf.chat_template = TEMPLATE
    return TextTokenizer(hf)


class FakeEngine:
    """Streams scripted steps.

    Args:
        tokenizer: of the byte kind.
        pause: seconds before each token.

    Attributes:
        seen: all requests, in the order in which they came.
        active: those that run now.
        most_active: the most that ran at once.
        alive: a test may say that it died.
    """

    def __init__(self, tokenizer: TextTokenizer, pause: float = 0.0) -> None:
        self.tokenizer = tokenizer
        self.pause = pause
        self.seen: list[Request] = []
        self.cancelled: list[str] = []
        self.active: dict[str, asyncio.Event] = {}
        self.most_active = 0
        self.intervened: list[tuple[str, tuple[Intervention, ...]]] = []
        self.alive = True

    def submit(self, request: Request) -> AsyncGenerator[Step]:
        return self._run(request)

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)
        if request_id in self.active:
            self.active[request_id].set()

    def intervene(self, request_id: str, interventions: Sequence[Intervention]) -> None:
        self.intervened.append((request_id, tuple(interventions)))

    def answer(self, request: Request) -> str:
        prompt = self.tokenizer.hf.decode(request.token_ids, skip_special_tokens=True)
        if "FAIL" in prompt:
            raise RuntimeError(f"cannot go on from {prompt}")
        said = prompt.rpartition("say:")[2].removesuffix("<answer>") if "say:" in prompt else ""
        text = said or "Hello there."
        if request.interventions:
            text = text.upper()
        return text if request.sampling.seed is None else f"{text}{request.sampling.seed}"

    async def _run(self, request: Request) -> AsyncGenerator[Step]:
        assert request.id not in self.active
        self.seen.append(request)
        gone = self.active[request.id] = asyncio.Event()
        self.most_active = max(self.most_active, len(self.active))
        try:
            for number, step in enumerate(self._steps(request)):
                await asyncio.sleep(self.pause)
                self._break(request, number)
                if gone.is_set():
                    yield Step(step.position, -1, "", step.span, finish="cancelled")
                    return
                yield step
        finally:
            del self.active[request.id]

    def _break(self, request: Request, number: int) -> None:
        prompt = self.tokenizer.hf.decode(request.token_ids)
        if "BREAK" in prompt and number == 2:
            raise RuntimeError(f"cannot go on from {prompt}")

    def _steps(self, request: Request) -> list[Step]:
        text, sampling = self.answer(request), request.sampling
        end = min((at for at in map(text.find, sampling.stop) if at >= 0), default=len(text))
        data = text[:end].encode()[: sampling.max_tokens]
        full = len(data) == sampling.max_tokens
        start, first = len(request.token_ids), 0
        ids = list(data) if full else [*data, -1]
        decoder, at, steps = codecs.getincrementaldecoder("utf-8")("replace"), 0, []
        for number, byte in enumerate(ids):
            last = number == len(ids) - 1
            new = "" if byte < 0 else decoder.decode(bytes([byte]), last)
            span = (at, at + (byte >= 0))
            at += len(new)
            until = start + number + last  # of an answer's last token comes a score as well
            steps.append(
                Step(
                    position=start + number,
                    token_id=self._id(byte),
                    text=new,
                    span=span,
                    readings={
                        name: _named(text, range(first - start, until - start), start)
                        if "NAME" in readout.labels
                        else _scores(range(first, until))
                        for name, readout in request.readouts.items()
                    },
                    **self._logprobs(sampling.logprobs, byte),
                    finish=None if not last else "length" if full else "stop",
                )
            )
            first = until
        return steps

    def _id(self, byte: int) -> int:
        hf = self.tokenizer.hf
        return int(hf.eos_token_id if byte < 0 else hf.convert_tokens_to_ids(_SYMBOLS[byte]))

    def _logprobs(self, wanted: int | None, byte: int) -> dict[str, Any]:
        if wanted is None:
            return {}
        others = [TokenLogprob(i, chr(97 + i), -1.0 - i) for i in range(wanted)]
        return {"logprob": LOGPROB, "top": tuple(others)}


def _scores(positions: range) -> tuple[PositionScores, ...]:
    rows = {p: torch.tensor([1 - fake_score(p), fake_score(p)]) for p in positions}
    return tuple(PositionScores(p, row) for p, row in rows.items())


def _named(text: str, tokens: range, start: int) -> tuple[PositionScores, ...]:
    """What a probe for names would see: it is sure of `Mary Jones` alone."""
    at = [number for number, c in enumerate(text) for _ in c.encode()]
    names = {i for m in re.finditer("Mary Jones", text) for i in range(*m.span())}
    rows = []
    for token in tokens:
        p = 0.9 if 0 <= token < len(at) and at[token] in names else 0.1
        rows.append(PositionScores(start + token, torch.tensor([1 - p, p])))
    return tuple(rows)


def fake_score(position: int) -> float:
    return position % 10 / 10
