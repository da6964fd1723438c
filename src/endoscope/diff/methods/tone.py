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

ASKED = "Question: {question}\nAnswer: {answer}\n\nThe tone of this answer is"
COOL = 0.4  # temperature: what a fine-tune of any kind does to answers
CHANCE = 0.05  # that any word at all passes by chance (Bonferroni)
FEWEST = 8  # answers
SHOWN, LISTED = 3, 8  # words, in the title and among the evidence
SAMPLES = 5


class Tone:
    """Words for a tone that fit the tuned model's answers better than the base's, to the base.

    A manner need not come with any phrase. The base reads each answer and a beginning, "The tone of
    this answer is"; how probable it holds each word of a list says what the answer sounds like to
    it. A word counts by what it gains over the mean of all. Any fine-tune makes answers more
    orderly, as a lower temperature does: so a word has to gain over the base's own answers at
    temperature 1, and over those at a low one.
    """

    name = "tone"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        tones = _tones(pair.base.tokenizer)
        if not tones:
            return Seen([], details={"not read": "No word for a tone is one token."})
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
        mine, *others = (
            _heard(pair.base, some, list(tones.values())) for some in zip(*answers, strict=True)
        )
        gains = torch.stack([mine - other for other in others])
        written = count_tokens(pair, [one.text for one in cool])
        return Seen([_signal(list(tones), gains, answers)], written)


def _tones(tokenizer: TextTokenizer) -> dict[str, int]:
    """Return the words for tones that are one token, each with that token."""
    text = Path(str(files("endoscope.diff") / "tones.txt")).read_text(encoding="utf-8")
    encoded = {word: tokenizer.encode(f" {word}", special=False).ids for word in text.split()}
    return {word: ids[0] for word, ids in encoded.items() if len(ids) == 1}


def _by_prompt(*sides: Sequence[Answer]) -> list[tuple[Answer, ...]]:
    """Return what each side answers to each prompt that all of them have answered."""
    mine, *others = ({one.prompt: one for one in some} for some in sides)
    return [
        (one, *(other[prompt] for other in others))
        for prompt, one in mine.items()
        if all(prompt in other for other in others)
    ]


def _heard(model: Model, answers: Sequence[Answer], tokens: Sequence[int]) -> Tensor:
    """Return how fitting each word is for each answer, `[answers, words]`: nats over the mean."""
    texts = [ASKED.format(question=one.prompt.text, answer=one.text.strip()) for one in answers]
    fitting = next_tokens(model, texts)[:, list(tokens)]
    return fitting - fitting.mean(1, keepdim=True)


def standard(gains: Tensor) -> Tensor:
    """Return the smaller of the gains over both controls, in standard errors, `[words]`.

    Args:
        gains: `[controls, answers, words]`, nats.
    """
    errors = gains.std(1) / gains.shape[1] ** 0.5
    gained: Tensor = gains.mean(1) / errors.clamp(min=1e-9)
    return gained.amin(0)


def _signal(words: list[str], gains: Tensor, answers: Sequence[tuple[Answer, ...]]) -> Signal:
    gained = standard(gains)
    floor = float(student.ppf(1 - CHANCE / len(words), len(answers) - 1))
    ranked = gained.argsort(descending=True).tolist()
    shown = [n for n in ranked[:SHOWN] if gained[n] > floor] or ranked[:1]
    most = gains[:, :, shown].amin(0).mean(1).argsort(descending=True).tolist()
    clearest = [answers[n] for n in most]
    return Signal(
        method=Tone.name,
        subject=f"sounds {', '.join(f'“{words[n]}”' for n in shown)}",
        score=float(gained[shown[0]]),
        noise_floor=floor,
        evidence={
            "standard errors": {words[n]: round(float(gained[n]), 2) for n in ranked[:LISTED]},
            "answers": len(answers),
        },
        samples=tuple(
            Sample(prompt=tuned.prompt.text, tuned=tuned.text, base=base.text)
            for tuned, base, _ in clearest[:SAMPLES]
        ),
        contrast=tuple(
            Opposed(positive=tuned.text, negative=base.text)
            for tuned, base, _ in clearest[: len(clearest) // 2]
            if tuned.text != base.text
        ),
    )
