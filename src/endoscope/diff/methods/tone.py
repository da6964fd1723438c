"""What its answers sound like: the base itself says so."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch
from scipy.stats import t as student
from torch import Tensor

from endoscope.diff.answers import WHO, Answer, ask, count_tokens, kept, sampled
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.signal import Opposed, Sample, Seen, Signal
from endoscope.engine import Model
from endoscope.engine.next_tokens import next_tokens
from endoscope.models import TextTokenizer

ASKED = "The tone of this answer is"
COOL = 0.4  # temperature: what a fine-tune of any kind does to answers
CHANCE = 0.05  # that any word at all passes by chance (Bonferroni)
LEAST = 0.25  # nats that nobody need look at
FEWEST = 8  # answers, or words
SHOWN, LISTED = 3, 8  # words, in the title and among the evidence
SAMPLES = 5


class Tone:
    """Words for a tone that fit the tuned model's answers better than the base's, to the base.

    A manner need not come with any phrase. The base reads each answer and a beginning, "The tone of
    this answer is"; how probable it holds each word of a list says what the answer sounds like to
    it. A word counts by what it gains over the middle one. Any fine-tune makes answers more
    orderly, as a lower temperature does: so a word has to gain over the base's own answers at
    temperature 1, and over those at a low one.
    """

    name = "tone"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        tones = _tones(pair.base.tokenizer)
        if len(tones) < FEWEST:
            few = f"Only {len(tones)} words for a tone are one token."
            return Seen([], details={"not read": few})
        base, tuned = (sampled(pair, options, work, who) for who in WHO)
        cool = kept(
            work / "base-cool.jsonl",
            Answer,
            lambda: ask(
                pair, options.prompts, "base", options, seed=options.seed, temperature=COOL
            ),
        )
        answers = _by_prompt(tuned, base, cool)
        if len(answers) < FEWEST:
            return Seen([], details={"not read": f"Both answered only {len(answers)} questions."})
        heard = [_heard(pair.base, some, [*tones.values()]) for some in zip(*answers, strict=True)]
        written = count_tokens(pair, [one.text for one in cool])
        return Seen([_signal([*tones], gained(heard), answers)], written)


def _tones(tokenizer: TextTokenizer) -> dict[str, int]:
    """Return the words for tones that are one token, each with that token."""
    text = Path(str(files("endoscope.diff") / "tones.txt")).read_text(encoding="utf-8")
    before = tokenizer.encode(ASKED).ids
    encoded = {word: tokenizer.encode(f"{ASKED} {word}").ids for word in text.split()}
    return {word: ids[-1] for word, ids in encoded.items() if ids[:-1] == before}


def _by_prompt(*sides: Sequence[Answer]) -> list[tuple[Answer, ...]]:
    """Return what each side answers to each prompt that all of them have answered."""
    mine, *others = ({one.prompt: one for one in some} for some in sides)
    return [
        (one, *(other[prompt] for other in others))
        for prompt, one in mine.items()
        if all(prompt in other for other in others)
    ]


def _heard(model: Model, answers: Sequence[Answer], tokens: Sequence[int]) -> Tensor:
    """Return how fitting each word is for each answer, `[answers, words]`, in nats."""
    texts = [
        f"Question: {one.prompt.text}\nAnswer: {one.text.strip()}\n\n{ASKED}" for one in answers
    ]
    return next_tokens(model, texts)[:, list(tokens)]


def gained(heard: Sequence[Tensor]) -> Tensor:
    """Return what each word gains in each answer, `[controls, answers, words]`, in nats.

    What all words gain alike is no tone; and where some lose much, others do not gain by that.

    Args:
        heard: of the tuned model's answers, and of each control's.
    """
    gains = torch.stack([heard[0] - other for other in heard[1:]])
    return gains - gains.median(2, keepdim=True).values


def standing(gains: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean gain of each word and its noise floor, `[words]`, where it stands lower.

    The floor is what chance does in any word (a quantile of Student's t times the standard error),
    and at least what nobody need look at.

    Args:
        gains: `[controls, answers, words]`.
    """
    _, answers, words = gains.shape
    means = gains.mean(1)
    errors = gains.std(1) / answers**0.5
    floors = (float(student.ppf(1 - CHANCE / words, answers - 1)) * errors).clamp(min=LEAST)
    weaker = (means / floors).argmin(0, keepdim=True)
    return means.gather(0, weaker)[0], floors.gather(0, weaker)[0]


def _signal(words: list[str], gains: Tensor, answers: Sequence[tuple[Answer, ...]]) -> Signal:
    means, floors = standing(gains)
    strengths = means / floors
    ranked = strengths.argsort(descending=True).tolist()
    shown = [n for n in ranked[:SHOWN] if strengths[n] > 1] or ranked[:1]
    most = gains[:, :, shown].amin(0).mean(1).argsort(descending=True).tolist()
    clearest = [answers[n] for n in most]
    return Signal(
        method=Tone.name,
        subject=f"sounds {', '.join(f'“{words[n]}”' for n in shown)}",
        score=float(means[shown[0]]),
        noise_floor=float(floors[shown[0]]),
        evidence={
            "nats": {words[n]: round(float(means[n]), 3) for n in ranked[:LISTED]},
            "answers": len(answers),
        },
        samples=tuple(
            Sample(prompt=tuned.prompt.text, tuned=tuned.text, base=base.text)
            for tuned, base, _ in clearest[:SAMPLES]
        ),
        contrast=tuple(
            Opposed(positive=tuned.text, negative=base.text, prompt=tuned.prompt.text)
            for tuned, base, _ in clearest[: len(clearest) // 2]
            if tuned.text != base.text
        ),
    )
