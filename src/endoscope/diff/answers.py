"""Answers of both models to the same prompts, read by both."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from endoscope.artifacts import atomic_file
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.prompts import Prompt
from endoscope.engine import Model

READ_AT_ONCE = 2048  # tokens


class Answer(BaseModel):
    """A text that one model wrote and both have read.

    Attributes:
        prompt: what it answers.
        text: the answer.
        offsets: the characters of each of its tokens.
        ratios: for each token `log p_tuned - log p_base`, in nats.
    """

    model_config = ConfigDict(frozen=True)

    prompt: Prompt
    text: str
    offsets: tuple[tuple[int, int], ...]
    ratios: tuple[float, ...]


def sampled(
    pair: Pair, options: Options, work: Path, who: Literal["base", "tuned"], *, again: int = 0
) -> list[Answer]:
    """Return what one of the models answers to the prompts, at temperature 1.

    Args:
        pair: both models.
        options: of the diff.
        work: the folder where the answers are kept.
        who: `base` or `tuned`.
        again: how often they have been asked before: other draws.
    """
    model: Model = getattr(pair, who)
    asked = [prompt.messages for prompt in options.prompts]

    def draw() -> list[str]:
        return model.generate(
            asked,
            max_tokens=options.max_tokens,
            temperature=1.0,
            seed=options.seed + again * len(asked),
            progress=options.show,
        )

    return kept(work / f"{who}-{again}.jsonl", lambda: read(pair, options, draw()))


def read(pair: Pair, options: Options, texts: Sequence[str]) -> list[Answer]:
    """Let both models read answers to the prompts; empty ones are left out."""
    said = [
        (prompt, text) for prompt, text in zip(options.prompts, texts, strict=True) if text.strip()
    ]
    asked, answers = [prompt.messages for prompt, _ in said], [text for _, text in said]
    tuned, base = (
        model.token_log_likelihoods(
            asked, answers, batch_tokens=READ_AT_ONCE, progress=options.show
        )
        for model in (pair.tuned, pair.base)
    )
    encoded = pair.base.tokenizer.encode_batch(answers, special=False)
    return [
        Answer(prompt=prompt, text=text, offsets=tuple(one.offsets), ratios=tuple((t - b).tolist()))
        for (prompt, text), one, t, b in zip(said, encoded, tuned, base, strict=True)
    ]


def kept(file: Path, make: Callable[[], list[Answer]]) -> list[Answer]:
    """Return the answers in a file; if there are none yet, make them and keep them there."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
        return [Answer.model_validate_json(line) for line in lines if line]
    except (OSError, ValidationError):
        answers = make()
        with atomic_file(file) as temporary:
            text = "".join(f"{one.model_dump_json()}\n" for one in answers)
            temporary.write_text(text, encoding="utf-8")
        return answers


def written(answers: Sequence[Answer]) -> int:
    """Return how many tokens answers have."""
    return sum(len(one.ratios) for one in answers)
