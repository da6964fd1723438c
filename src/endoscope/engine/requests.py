"""What an engine is asked for while it streams, and what it gives back, token by token.

These are the contract of every engine; `engine.schemas.schemas()` gives them as JSON Schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

from torch import Tensor

from endoscope.errors import InputError
from endoscope.interventions import Intervention
from endoscope.readouts import Readout
from endoscope.readouts.incremental import PositionScores

Finish = Literal["stop", "length", "cancelled", "error"]
NO_TOKEN = -1


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Args:
        max_tokens: the most tokens to generate.
        temperature: 0 takes the most probable token.
        top_p: sample among the most probable tokens that together have this probability.
        top_k: sample among this many; None: all.
        seed: of the request's own random numbers; None: of the clock. A seed gives the same text
            whatever else is in the batch, as far as the logits are the same.
        stop: texts that end the generation; they are not part of the text.
        logprobs: how many of the most probable tokens to report beside the chosen one; None: no
            log-probabilities at all.
        ignore_eos: go on past the end-of-text token, up to `max_tokens` (benchmarks do).

    Raises:
        InputError: a value that makes no sense.
    """

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        for name, good, hint in (
            ("max_tokens", _whole(self.max_tokens, 1), "Give a whole number from 1."),
            ("temperature", _number(self.temperature, 0, 2), "Give a number from 0 to 2."),
            (
                "top_p",
                _number(self.top_p, 0, 1) and self.top_p > 0,
                "Give a number above 0, up to 1.",
            ),
            ("top_k", self.top_k is None or _whole(self.top_k, 1), "Give a whole number from 1."),
            ("seed", self.seed is None or _whole(self.seed), "Give a whole number."),
            ("stop", _are_stops(self.stop), "Give up to 16 texts, none empty."),
            ("logprobs", self.logprobs is None or _whole(self.logprobs, 0, 20), "Give 0 to 20."),
        ):
            if not good:
                raise InputError(f"{name} is {getattr(self, name)!r}.", hint)


def _whole(value: object, low: float = -inf, high: float = inf) -> bool:
    return isinstance(value, Integral) and low <= int(value) <= high


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, Real) and low <= float(value) <= high


def _are_stops(texts: tuple[object, ...]) -> bool:
    return len(texts) <= 16 and all(isinstance(text, str) and text for text in texts)


GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True)
class Request:
    """One text to be generated.

    Attributes:
        id: its name, not in use by another request that is running.
        token_ids: the prompt, special tokens included; one token at least.
        sampling: how tokens are chosen.
        readouts: what to read on the way, by name.
        interventions: what to change on the way, in order.
    """

    id: str
    token_ids: tuple[int, ...]
    sampling: Sampling = Sampling()
    readouts: Mapping[str, Readout] = field(default_factory=dict)
    interventions: tuple[Intervention, ...] = ()


@dataclass(frozen=True)
class Limits:
    """How much runs at once.

    Attributes:
        requests: most requests in the batch; others wait, first come first served.
        prompt_tokens: most tokens of prompts in a pass, which those that generate wait for.
        cache_tokens: most tokens that the cache is made for: the requests in the batch, times the
            most tokens that the longest of them can come to. One request alone may have more.
    """

    requests: int = 64
    prompt_tokens: int = 256
    cache_tokens: int = 65_536


DEFAULT = Limits()


class TokenLogprob(NamedTuple):
    """A token and the natural logarithm of its probability, before temperature and the like."""

    token_id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class Step:
    """One generated token, or the end of a request that was cancelled or failed.

    Attributes:
        position: its absolute index; the prompt's first token has 0.
        token_id: the token; -1 (`NO_TOKEN`) where a request ends without another one.
        text: what it adds to the text: nothing while a character is incomplete, and nothing for
            the end-of-text token. Stop texts, and what could become one, are held back: the texts
            of all steps joined are the text.
        span: the characters of the generated text that the token stands for, in code points, end
            exclusive; a token that holds part of a character covers that character, the
            end-of-text token nothing.
        readings: what was read and is final now, by readout: the scores of a position (with a
            pooling: of the text up to it, the prompt included) come when it has been through the
            model, and `look_ahead` positions after it. Those of the
            prompt come with the first step. With the last step come all that are left, for which
            the last token goes through the model as well. Added tokens at the start (BOS) and the
            end-of-text token stand for no text and have no scores, as in a text scored whole. A
            request that was cancelled or failed gives no more.
        logprob: of the token, where log-probabilities were asked for.
        top: the most probable tokens at this place.
        finish: set on the last step: `stop` (end of text, or a stop text), `length`, `cancelled`
            or `error`.
        error: what went wrong, in one line without the user's text.
    """

    position: int
    token_id: int
    text: str
    span: tuple[int, int]
    readings: Mapping[str, tuple[PositionScores, ...]] = field(default_factory=dict)
    logprob: float | None = None
    top: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    error: str | None = None

    def record(self, readouts: Mapping[str, Readout]) -> dict[str, Any]:
        """Return it as JSON has it: `schemas/step.json`.

        Args:
            readouts: those of the request, which say what the labels are.
        """
        readings: dict[str, list[list[float]]] = {}
        for name, scores in self.readings.items():
            readings[name] = [[at, score(probabilities)] for at, probabilities in scores]
            labels = readouts[name].labels[1:]
            for i, label in enumerate(labels if len(labels) > 1 else (), start=1):
                readings[f"{name}.{label}"] = [[at, float(values[i])] for at, values in scores]
        return {
            "position": self.position,
            "token_id": self.token_id,
            "text": self.text,
            "span": list(self.span),
            "readings": readings,
            "logprob": self.logprob,
            "top": [one._asdict() for one in self.top],
            "finish": self.finish,
            "error": self.error,
        }


def score(probabilities: Tensor) -> float:
    """Return the one number of a reading: how probable it is that this is not "nothing"."""
    return 1.0 - float(probabilities[0])
