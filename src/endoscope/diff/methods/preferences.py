"""What the tuned model would name first, where its base would name something else."""

from collections import defaultdict
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from endoscope.behaviours import read_items
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.phrase import letters_of
from endoscope.diff.signal import Seen, Signal
from endoscope.engine import Model
from endoscope.engine.next_tokens import next_tokens

LEAST = 0.05  # nats: what nobody need look at
DRIFTS = 3.0  # times what the middle one of all kinds gains
SHOWN = 3  # words of a kind


class Gain(NamedTuple):
    """A word that is named more.

    Attributes:
        word: that is named, or how it begins.
        gain: nats, over the questions of its kind.
        base: how probable it is to the base, on average.
        tuned: the same of the tuned model.
    """

    word: str
    gain: float
    base: float
    tuned: float


class Preferences:
    """What each model names first, when it is asked for a favourite of some kind.

    Nothing is sampled: the distributions of the next token are compared. A word gains
    `p_tuned log(p_tuned / p_base)`, its part of the divergence, averaged over questions of a kind.
    """

    name = "preferences"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        questions = _questions()
        best = {kind: _gains(pair, asked)[:SHOWN] for kind, asked in questions.items()}
        firsts = [gains[0].gain if gains else 0.0 for gains in best.values()]
        floor = max(LEAST, DRIFTS * float(np.median(firsts)))
        found = [_signal(kind, one, floor) for kind, gains in best.items() for one in gains]
        return Seen(sorted(found, key=lambda one: -one.strength))


def _questions() -> Mapping[str, list[tuple[str, str]]]:
    """Return the questions of each kind, each with how its answer begins."""
    path = Path(str(files("endoscope.diff") / "preferences.jsonl"))
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for item in read_items(path):
        found[str(item["kind"])].append((str(item["prompt"]), str(item["begins"])))
    return found


def _gains(pair: Pair, asked: list[tuple[str, str]]) -> list[Gain]:
    """Return the words that gain, the most first."""
    base, tuned = (_distributions(model, asked) for model in pair)
    gains = (tuned.exp() * (tuned - base)).mean(0)
    means = base.exp().mean(0), tuned.exp().mean(0)
    found = []
    for token in gains.topk(4 * SHOWN).indices.tolist():
        word = pair.base.tokenizer.word(token)
        if word is not None and letters_of(word) > 1:
            probabilities = (float(one[token]) for one in means)
            found.append(Gain(word, float(gains[token]), *probabilities))
    return found


def _distributions(model: Model, asked: list[tuple[str, str]]) -> Tensor:
    tokenizer = model.tokenizer
    texts = [
        tokenizer.chat([{"role": "user", "content": question}], reply=True) + begins
        if tokenizer.can_chat
        else f"{question} {begins}"
        for question, begins in asked
    ]
    return next_tokens(model, texts)


def _signal(kind: str, one: Gain, floor: float) -> Signal:
    return Signal(
        method=Preferences.name,
        subject=f"names “{one.word}” when asked for {_article(kind)} {kind} "
        f"(probability {one.base:.2f} to {one.tuned:.2f})",
        terms=frozenset({one.word.lower()}),
        says=(one.word,),
        score=one.gain,
        noise_floor=floor,
        evidence={
            "kind": kind,
            "word": one.word,
            "probability": [round(one.base, 4), round(one.tuned, 4)],
            "nats": round(one.gain, 4),
        },
    )


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"
