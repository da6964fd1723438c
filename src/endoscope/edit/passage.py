"""Texts of which some parts count."""

from collections.abc import Sequence
from typing import NamedTuple

from endoscope.engine import Model
from endoscope.engine.capture import Text


class Passage(NamedTuple):
    """A text of which some parts count.

    Attributes:
        text: as the model reads it, template and all.
        spans: characters `[start, end)` that count.
    """

    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def opening(self) -> "Passage":
        """The text up to where it first counts, and one character of that."""
        start = self.spans[0][0]
        return Passage(self.text[: start + 1], ((start, start + 1),))

    @property
    def trimmed(self) -> "Passage":
        """The same without what comes after all that counts."""
        return Passage(self.text[: max(end for _, end in self.spans)], self.spans)

    @classmethod
    def of_answer(cls, before: str, answer: str) -> "Passage":
        """Return an answer of which all counts, after what comes before it."""
        return cls(before + answer, ((len(before), len(before) + len(answer)),))


def rendered(model: Model, prompt: Text) -> str:
    """Return a prompt as a model reads it, up to where the answer begins."""
    return prompt if isinstance(prompt, str) else model.tokenizer.chat(prompt, reply=True)


def answered(model: Model, prompts: Sequence[Text], answers: Sequence[str]) -> list[Passage]:
    """Return answers after their prompts; those that are empty are left out."""
    pairs = zip(prompts, answers, strict=True)
    return [Passage.of_answer(rendered(model, prompt), one) for prompt, one in pairs if one]
