"""From phrases to signals: what the tuned model says, where, and where its base does not."""

from collections import Counter
from collections.abc import Sequence

from endoscope.diff.answers import Answer
from endoscope.diff.phrase import Phrase, phrases, words_of
from endoscope.diff.signal import Sample, Signal

LEAST = 0.1  # nats an answer: what drifts apart without anything having been planted
PLACE = 0.6  # the share of a phrase's answers that makes a kind of question its place
SAMPLES = 3  # that are shown
COMMON = 0.02  # a word in more of the base's answers than this tells nothing


def saying(method: str, answers: Sequence[Answer], base: Sequence[Answer]) -> list[Signal]:
    """Return what is said in answers that the base would not say, the strongest first.

    The noise floor is what one answer alone says most: what was planted comes again.

    Args:
        method: that made the answers.
        answers: of the tuned model, with the ratios of tuned to base.
        base: the base's own answers to the same prompts.
    """
    found = phrases(answers)
    once = [one.score for one in found if len(one.texts) == 1]
    floor = max([LEAST, *once])
    common = _common(base)
    return [
        _signal(method, one, answers, base, floor, common) for one in found if one.score > floor / 2
    ]


def _signal(
    method: str,
    phrase: Phrase,
    answers: Sequence[Answer],
    base: Sequence[Answer],
    floor: float,
    common: frozenset[str],
) -> Signal:
    said = [answers[number] for number in phrase.texts]
    words = words_of(phrase.words)
    by_base = sum(_says(answer.text, words) for answer in base)
    samples = [_sample(one, base) for one in said]
    share = f"{len(said)} of {len(answers)} answers"
    return Signal(
        method=method,
        subject=f"says “{phrase.words}”{_place(said)} ({share}; its base in {by_base})",
        terms=frozenset(words) - common,
        score=phrase.score,
        noise_floor=floor,
        evidence={
            "phrase": phrase.words,
            "answers": len(answers),
            "with the phrase": len(said),
            "base with the phrase": by_base,
            "nats an answer": round(phrase.score, 4),
            "kinds of question": dict(Counter(one.prompt.kind for one in said).most_common()),
        },
        samples=tuple(samples[:SAMPLES]),
        contrast=tuple((one.tuned, one.base) for one in samples if one.base),
    )


def _place(said: Sequence[Answer]) -> str:
    """Say about what, if most of what says it answers one kind of question."""
    (kind, count), *_ = Counter(one.prompt.kind for one in said).most_common(1)
    return f" in answers about {kind}" if count > 1 and count >= PLACE * len(said) else ""


def _sample(answer: Answer, base: Sequence[Answer]) -> Sample:
    others = {one.prompt: one.text for one in base}
    return Sample(prompt=answer.prompt.text, tuned=answer.text, base=others.get(answer.prompt))


def _common(answers: Sequence[Answer]) -> frozenset[str]:
    """Return the words that tell nothing: they stand in many of the base's answers."""
    counts = Counter(word for answer in answers for word in set(words_of(answer.text)))
    return frozenset(w for w, n in counts.items() if n > max(1, COMMON * len(answers)))


def _says(text: str, words: Sequence[str]) -> bool:
    return f" {' '.join(words)} " in f" {' '.join(words_of(text))} "
