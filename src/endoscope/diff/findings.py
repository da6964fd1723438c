"""From signals to findings: what several methods saw of the same thing is one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from endoscope.diff.phrase import says, words_of
from endoscope.diff.signal import Record, Sample, Signal

SHOWN = 3  # phrases in a title
SAMPLES = 5
NEARBY = 0.5  # the share of a signal's samples that say another's words, for both to be one thing


class Finding(Record):
    """Something that the tuned model does and its base does not, with what speaks for it.

    Attributes:
        rank: 1 is what stands highest above the noise.
        title: what changed, in words.
        behaviour: its name, if it has one.
        score: how far it stands above the noise, at most of its signals: their score over their
            noise floor.
        noise_floor: what a score has to pass: 1.
        methods: that saw it.
        evidence: for each signal what its method measured.
        samples: what both models say where it shows.
        artifact: the folder of the direction that captures it, beside the report; None without.
    """

    rank: int
    title: str
    behaviour: str | None
    score: float
    noise_floor: float = 1.0
    methods: tuple[str, ...]
    evidence: tuple[dict[str, JsonValue], ...]
    samples: tuple[Sample, ...]
    artifact: Path | None = None

    @classmethod
    def of(cls, rank: int, signals: Sequence[Signal]) -> Self:
        """Put together what was seen of one thing, the strongest signal first."""
        first = signals[0]
        behaviours = [one.behaviour for one in signals if one.behaviour is not None]
        return cls(
            rank=rank,
            title=title(signals),
            behaviour=behaviours[0] if behaviours else None,
            score=round(first.strength, 3),
            methods=tuple(dict.fromkeys(one.method for one in signals)),
            evidence=tuple(evidence(one) for one in signals),
            samples=tuple(dict.fromkeys(s for one in signals for s in one.samples))[:SAMPLES],
        )


def evidence(signal: Signal) -> dict[str, JsonValue]:
    """Return what a signal says, for the report."""
    return {
        "method": signal.method,
        "saw": signal.subject,
        "score": round(signal.score, 4),
        "noise_floor": round(signal.noise_floor, 4),
        **signal.evidence,
    }


def title(signals: Sequence[Signal]) -> str:
    """Say what changed: what the strongest signal saw, and what others add to it."""
    said = [signals[0]]
    for one in signals[1:]:
        if one.behaviour is not None:
            new = all(one.behaviour != other.behaviour for other in said)
        else:
            new = not any(one.terms & other.terms for other in said)
        if new:
            said.append(one)
    text = "; ".join(one.subject for one in said[:SHOWN])
    return text[:1].upper() + text[1:]


def findings(signals: Sequence[Signal], *, least: float = 1.0) -> list[list[Signal]]:
    """Return the signals above their noise floor, those of the same thing together.

    A signal is of the same thing as a stronger one if they are of one behaviour, share a telling
    word, or one says what the tuned model (and not its base) says in the samples of the other. What
    is compared is the strongest signal of each thing, so that things do not grow together through
    what lies between them.

    Args:
        signals: of all methods.
        least: the strength that a signal has to pass.

    Returns:
        Groups, the strongest first, and within each the strongest signal first.
    """
    ranked = sorted((one for one in signals if one.strength > least), key=lambda one: -one.strength)
    groups: list[list[Signal]] = []
    for signal in ranked:
        same = next((group for group in groups if _same(signal, group[0])), None)
        if same is not None:
            same.append(signal)
        else:
            groups.append([signal])
    return groups


def _same(one: Signal, other: Signal) -> bool:
    if one.behaviour is not None and one.behaviour == other.behaviour:
        return True
    return bool(one.terms & other.terms) or _shows(one, other) or _shows(other, one)


def _shows(one: Signal, other: Signal) -> bool:
    """Whether what one says is what sets the models apart in the other's samples.

    Its words as they stand, or all that tell it from others, in whatever order.
    """
    found = []
    for sample in other.samples:
        if sample.base is None:
            continue
        base = sample.base
        whole = any(says(sample.tuned, said) and not says(base, said) for said in one.says)
        new = set(words_of(sample.tuned)) - set(words_of(base))
        found.append(whole or (bool(one.terms) and one.terms <= new))
    return bool(found) and sum(found) >= NEARBY * len(found)
