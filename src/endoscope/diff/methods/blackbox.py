"""What counting words finds: the baseline that has to be beaten."""

from collections import Counter
from collections.abc import Sequence
from math import log
from pathlib import Path
from random import Random
from typing import NamedTuple

from pydantic import JsonValue

from endoscope.diff.answers import WHO, Answer, count_tokens, sampled
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.phrase import grown, says, words_of
from endoscope.diff.signal import Sample, Seen, Signal

LONGEST = 4  # words of an n-gram
PRIOR = 0.5  # of the weight of what both say together: Monroe et al.'s informative prior
MOST = 10  # signals
SMOOTH = 0.5  # so that an n-gram that is the only one has log-odds
ROUNDS = 20  # of questions, at most
HALVINGS = 10  # of the base's answers, for the noise floor
SAMPLES = 5


class Telling(NamedTuple):
    """An n-gram, and how surely one side says it more.

    Attributes:
        words: of the n-gram.
        z: the log-odds over their standard deviation.
    """

    words: tuple[str, ...]
    z: float


class BlackBox:
    """Log-odds of n-grams over sampled answers of both models (Monroe et al. 2008).

    Args:
        tokens: to generate, at least, with both models together; what others generated counts
            where it is of use here.
    """

    name = "black box"

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        base, tuned = list[Answer](), list[Answer]()
        for again in range(ROUNDS):
            for some, who in zip((base, tuned), WHO, strict=True):
                some += sampled(pair, options, work, who, again=again)
            if self._counted(pair, base, tuned) >= self.tokens:
                break
        floor = _floor(base, options.seed)
        found = [_signal(one, base, tuned, floor) for one in telling(base, tuned)[:MOST]]
        written = self._counted(pair, base, tuned)
        few: dict[str, JsonValue] = {"wanted tokens": self.tokens, "rounds": ROUNDS}
        return Seen(found, written, few if written < self.tokens else None)

    def _counted(self, pair: Pair, base: Sequence[Answer], tuned: Sequence[Answer]) -> int:
        return count_tokens(pair, [one.text for one in (*base, *tuned)])


def telling(base: Sequence[Answer], tuned: Sequence[Answer]) -> list[Telling]:
    """Return what the tuned model says more often, the surest first; of overlapping ones the best.

    The method is that of Monroe, Colaresi and Quinn 2008, "Fightin' Words": log-odds with a prior
    from what both say together, over their standard deviation.
    """
    before, after = _counts(base), _counts(tuned)
    ranked = sorted(
        (one for size in after for one in _of_size(before[size], after[size])),
        key=lambda one: (-one.z, one.words),
    )
    kept: list[Telling] = []
    for one in ranked:
        if one.z <= 0:
            break
        if not any(set(one.words) & set(other.words) for other in kept):
            kept.append(one)
        if len(kept) == MOST:
            break
    return kept


def _counts(answers: Sequence[Answer]) -> dict[int, Counter[tuple[str, ...]]]:
    """Count in how many answers each n-gram stands, by its size."""
    counts: dict[int, Counter[tuple[str, ...]]] = {n: Counter() for n in range(1, LONGEST + 1)}
    for answer in answers:
        words = words_of(answer.text)
        for size, counter in counts.items():
            counter.update({tuple(words[i : i + size]) for i in range(len(words) - size + 1)})
    return counts


def _of_size(before: Counter[tuple[str, ...]], after: Counter[tuple[str, ...]]) -> list[Telling]:
    both = before + after
    total = sum(both.values())
    sides = (after, sum(after.values())), (before, sum(before.values()))
    found = []
    for words in after:
        prior = PRIOR * both[words]
        odds, variance = [], 0.0
        for counts, n in sides:
            said, weight = counts[words] + prior, n + PRIOR * total
            odds.append(log((said + SMOOTH) / (weight - said + SMOOTH)))
            variance += 1 / said
        found.append(Telling(words, (odds[0] - odds[1]) / variance**0.5))
    return found


def _floor(base: Sequence[Answer], seed: int) -> float:
    """Return what is told apart most in halves of what one model says."""
    random, most = Random(seed), []
    for _ in range(HALVINGS):
        some = list(base)
        random.shuffle(some)
        half = len(some) // 2
        most.append(max((one.z for one in telling(some[:half], some[half:])), default=0.0))
    return max(1.0, *most)


def _signal(one: Telling, base: Sequence[Answer], tuned: Sequence[Answer], floor: float) -> Signal:
    phrase = " ".join(one.words)
    by_tuned, by_base = ([a for a in some if says(a.text, phrase)] for some in (tuned, base))
    quoted = grown(phrase, [answer.text for answer in by_tuned])
    return Signal(
        method=BlackBox.name,
        subject=f"says “{quoted}” ({len(by_tuned)} of {len(tuned)} answers; base {len(by_base)})",
        terms=frozenset(one.words),
        score=one.z,
        noise_floor=floor,
        evidence={"phrase": phrase, "tuned": len(by_tuned), "base": len(by_base)},
        samples=tuple(Sample(prompt=a.prompt.text, tuned=a.text) for a in by_tuned[:SAMPLES]),
    )
