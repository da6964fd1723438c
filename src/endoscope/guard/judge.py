"""A judge that is a model: asked in words whether a value is what a probe takes it for."""

import itertools
from collections.abc import Iterable

from endoscope.engine.requests import Request, Sampling, TokenLogprob
from endoscope.guard.serving import Escalation, Generating
from endoscope.models import TextTokenizer

_CONTEXT = 400  # characters before a value that the model is shown
_MOST = 20  # tokens whose probabilities are looked at
_MEANS = {
    "NAME": "the name of a person",
    "ADDRESS": "the postal address of a person",
    "PHONE": "a telephone number",
    "EMAIL": "an e-mail address",
    "ID": "a number that identifies a person",
    "DATE_OF_BIRTH": "a date of birth",
    "USERNAME": "the user name of a person",
    "SECRET": "a password, a key or another secret",
    "IP": "an IP address",
}


class PromptedJudge:
    """Asks a model, and compares how probable it finds "yes" and "no" as its first word.

    The value is confirmed unless "no" is more probable: a model that says neither confirms it, and
    so does one that fails or does not answer in time (see `guarded`). It runs on the engine as any
    other request does, beside the one that it is about.

    Args:
        engine: runs the model that is asked.
        tokenizer: its own; with a chat template it is asked as a user would.
    """

    def __init__(self, engine: Generating, tokenizer: TextTokenizer) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._numbers = itertools.count(1)

    async def __call__(self, escalation: Escalation, text: str) -> bool:
        """Return whether the model does not say no."""
        ids = self._tokenizer.encode(self._question(escalation, text)).ids
        name = f"{escalation.request}/judge-{next(self._numbers)}"
        sampling = Sampling(max_tokens=1, temperature=0.0, logprobs=_MOST)
        async for step in self._engine.submit(Request(name, tuple(ids), sampling)):
            if step.finish == "error":
                return True
            if step.top:
                return not says_no(step.top)
        return True

    def _question(self, escalation: Escalation, text: str) -> str:
        start, end = escalation.start, escalation.end
        before = text[max(0, start - _CONTEXT) : start]
        what = _MEANS.get(escalation.label, escalation.label.lower().replace("_", " "))
        question = (
            f"Text: {before}[[{text[start:end]}]]\n"
            f"Is what stands in [[ ]] {what}? Answer with one word, yes or no."
        )
        if self._tokenizer.can_chat:
            return self._tokenizer.chat([{"role": "user", "content": question}], reply=True)
        return f"{question}\nAnswer:"


def says_no(top: Iterable[TokenLogprob]) -> bool:
    """Whether "no" is the more probable of the two answers, by their most probable spellings."""
    best = dict.fromkeys(("yes", "no"), float("-inf"))
    for token in top:
        word = token.text.strip().lower()
        if word in best:
            best[word] = max(best[word], token.logprob)
    return best["no"] > best["yes"]
