"""Answers of the models to the same prompts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from endoscope.artifacts import atomic_lines
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.prompts import Prompt
from endoscope.engine import Model
from endoscope.engine.amplified import amplified
from endoscope.progress import progress

READ_AT_ONCE = 2048  # tokens
AMPLIFIED_AT_ONCE = 36  # prompts

Who = Literal["base", "tuned"]
WHO: tuple[Who, Who] = ("base", "tuned")


class Answer(BaseModel):
    """What one model wrote.

    Attributes:
        prompt: what it answers.
        text: the answer; never blank.
    """

    model_config = ConfigDict(frozen=True)

    prompt: Prompt
    text: str


class Reading(Answer):
    """An answer that both models have read.

    Attributes:
        offsets: the characters of each of its tokens.
        ratios: for each token `log p_tuned - log p_base`, in nats.
    """

    offsets: tuple[tuple[int, int], ...]
    ratios: tuple[float, ...]


A = TypeVar("A", bound=Answer)


def sampled(pair: Pair, options: Options, work: Path, who: Who, *, again: int = 0) -> list[Answer]:
    """Return what one of the models answers to the prompts, at temperature 1.

    Args:
        pair: both models.
        options: of the diff.
        work: the folder where the answers are kept.
        who: `base` or `tuned`.
        again: how often they have been asked before: other draws.
    """
    seed = options.seed + again * len(options.prompts)
    return kept(
        work / f"{who}-{again}.jsonl",
        Answer,
        lambda: ask(pair, options.prompts, who, options, seed=seed),
    )


def all_sampled(work: Path, who: Who) -> list[Answer]:
    """Return all that one of the models was asked by `sampled`, as it is kept in a work folder."""
    files = sorted(work.glob(f"{who}-[0-9]*.jsonl"))
    return [one for file in files for one in read_answers(file, Answer)]


def ask(
    pair: Pair,
    prompts: Sequence[Prompt],
    who: Who,
    options: Options,
    *,
    seed: int,
    temperature: float = 1.0,
) -> list[Answer]:
    """Ask one of the models; at a temperature of 1 it says what it would say."""
    model: Model = getattr(pair, who)
    texts = model.generate(
        [pair.given(prompt.text) for prompt in prompts],
        max_tokens=options.max_tokens,
        temperature=temperature,
        seed=seed,
        progress=options.show,
    )
    return answers(prompts, texts)


def amplified_answers(pair: Pair, prompts: Sequence[Prompt], options: Options) -> list[Answer]:
    """Return what is answered when what was changed is exaggerated (see `amplified`)."""
    texts: list[str] = []
    with progress("Amplifying", len(prompts), show=options.show) as advance:
        for start in range(0, len(prompts), AMPLIFIED_AT_ONCE):
            some = prompts[start : start + AMPLIFIED_AT_ONCE]
            texts += amplified(
                *pair,
                [pair.given(prompt.text) for prompt in some],
                max_tokens=options.max_tokens,
                seed=options.seed + start,
            )
            advance(len(some))
    return answers(prompts, texts)


def answers(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Answer]:
    """Put answers to their prompts; blank ones are left out."""
    return [
        Answer(prompt=prompt, text=text)
        for prompt, text in zip(prompts, texts, strict=True)
        if text.strip()
    ]


def read(pair: Pair, said: Sequence[Answer], *, show: bool = False) -> list[Reading]:
    """Let both models read answers."""
    prompts, texts = [pair.given(one.prompt.text) for one in said], [one.text for one in said]
    tuned, base = (
        model.token_log_likelihoods(prompts, texts, batch_tokens=READ_AT_ONCE, progress=show)
        for model in (pair.tuned, pair.base)
    )
    encoded = pair.base.tokenizer.encode_batch(texts, special=False)
    return [
        Reading(
            prompt=one.prompt,
            text=one.text,
            offsets=tuple(tokens.offsets),
            ratios=tuple((after - before).tolist()),
        )
        for one, tokens, after, before in zip(said, encoded, tuned, base, strict=True)
    ]


def kept(file: Path, kind: type[A], make: Callable[[], list[A]]) -> list[A]:
    """Return the answers in a file; if there are none yet, make them and keep them there."""
    try:
        return read_answers(file, kind)
    except (OSError, ValidationError):
        made = make()
        atomic_lines(file, (one.model_dump_json() for one in made))
        return made


def read_answers(file: Path, kind: type[A]) -> list[A]:
    """Return the answers in a file.

    Raises:
        OSError: it cannot be read.
        ValidationError: it is damaged.
    """
    lines = file.read_text(encoding="utf-8").split("\n")
    return [kind.model_validate_json(line) for line in lines if line]


def count_tokens(pair: Pair, texts: Sequence[str]) -> int:
    """Return how many tokens texts have."""
    return sum(len(one.ids) for one in pair.base.tokenizer.encode_batch(texts, special=False))
