"""Random streams for the guard, and their oracle: the finished text, redacted."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import regex
import torch
from tests.guard.fragments import CUES, PROSE, VALUES
from tests.scorers import NAMES, TOKENS, PatternScorer

from endoscope.guard import Guard, GuardStream, Policy, Redaction, Rule
from endoscope.guard.graphemes import clusters
from endoscope.readouts import TokenScores

LABELS = (
    *("O", "NAME", "ADDRESS", "PHONE", "EMAIL", "ID"),
    *("DATE_OF_BIRTH", "USERNAME", "SECRET", "IP"),
)


class Scores(PatternScorer):
    """What a guard has to know of a probe, for scores that come from elsewhere."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        super().__init__({})
        self.labels, self.thresholds = LABELS, dict(thresholds)  # type: ignore[assignment]


@dataclass
class Case:
    """A text with its scores, under a policy."""

    guard: Guard
    text: str
    scores: TokenScores

    def oracle(self) -> Redaction:
        return self.guard.replace(self.text, self.guard.spans(self.text, self.scores))


def random_text(random: Random, fragments: int) -> str:
    parts = []
    weights = random.choice([(1, 1, 6), (4, 2, 3), (1, 0, 0), (2, 1, 12)])
    for _ in range(fragments):
        [pool] = random.choices([VALUES, CUES, PROSE], weights)
        part = random.choice(pool)
        if random.random() < 0.3:  # a piece of it
            start = random.randrange(len(part))
            part = part[: start + 1] if random.random() < 0.7 else part[start:]
        if random.random() < 0.02:
            part *= random.randrange(2, 60)
        parts.append(part)
        if random.random() < 0.4:
            parts.append(random.choice([" ", " ", ", ", "。", "\n"]))
    return "".join(parts)


def random_tokens(random: Random, text: str) -> list[tuple[int, int]]:
    how = random.randrange(3)
    if how == 0:
        tokens = [m.span() for m in regex.finditer(TOKENS, text)]
    else:
        most = random.choice([1, 3, 8, 30])
        cuts = [0]
        while cuts[-1] < len(text):
            cuts.append(min(len(text), cuts[-1] + random.randint(1, most)))
        tokens = list(pairwise(cuts))
    if how == 2:  # several tokens of one character, tokens that overlap, white space in none
        tokens = [
            token
            for start, end in tokens
            for token in random.choice(
                [[(start, end)]] * 4
                + [[(start, end)] * 2, [(start, min(end + 1, len(text)))]]
                + [[]] * text[start:end].isspace()
            )
        ]
    return tokens


def random_scores(random: Random, text: str) -> TokenScores:
    tokens = random_tokens(random, text)
    rows = torch.full((len(tokens), len(LABELS)), 0.01)
    share, label, left = random.choice([0, 0.02, 0.1, 0.5, 1]), 1, 0
    names = [m.span() for p in (NAMES["NAME"], "Mary|太郎") for m in regex.finditer(p, text)]
    for row, (start, end) in enumerate(tokens):
        if left == 0 and random.random() < share:
            label, left = random.randrange(1, len(LABELS)), random.choice([1, 1, 2, 3, 5, 20])
        if left:
            rows[row, label] = random.choice([0.2, 0.35, 0.5, 0.6, 0.9, 0.97, random.random()])
            left -= 1
        if any(low < end and start < high for low, high in names):
            rows[row, 1] = 0.9
    rows /= rows.sum(1, keepdim=True).clamp(min=1)
    rows[:, 0] = (1 - rows[:, 1:].sum(1)).clamp(min=0)
    return TokenScores(torch.tensor(tokens, dtype=torch.int64).reshape(-1, 2), rows, LABELS)


def random_case(random: Random, fragments: int) -> Case:
    threshold = random.choice([0.0, 0.05, 0.3, 0.5, 0.5, 0.9])
    wanted = [label for label in LABELS[1:] if random.random() < 0.9] or ["NAME"]
    rules = {
        label: Rule(threshold=threshold, action=random.choice(["redact"] * 5 + ["flag"]))  # type: ignore[arg-type]
        for label in wanted
    }
    policy = Policy(
        name="random",
        labels=rules,
        validators=random.random() < 0.8,
        replacement=random.choice(["tag", "pseudonym"]),  # type: ignore[arg-type]
    )
    guard = Guard(policy, Scores(dict.fromkeys(wanted, threshold)))
    text = random_text(random, fragments)
    return Case(guard, text, random_scores(random, text))


def run(random: Random, case: Case, stream: GuardStream | None = None) -> tuple[str, list[object]]:
    """Stream a case in random pieces, with scores that lag behind at random; check on the way."""
    stream = stream or fresh(case)
    text, scores = case.text, case.scores
    offsets = scores.offsets.tolist()
    most = random.choice([1, 2, 5, 20, 400, len(text) + 1])
    lag, tells = random.choice([0, 0, 1, 3, 10]), random.random() < 0.5
    ends = {0, len(text)} | {end for _, end in clusters(text)}
    out, spans, come, row, settled = [], [], 0, 0, 0
    while come < len(text):
        start, come = come, min(len(text), come + random.randint(1, most))
        ready = row
        while ready < len(offsets) and offsets[ready][1] <= come:
            ready += 1
        ready = max(row, ready - random.randint(0, lag))
        part = TokenScores(
            scores.offsets[row:ready], scores.probabilities[row:ready], scores.labels
        )
        row = ready
        told = None
        if tells:
            told = min(offsets[row][0] if row < len(offsets) else come, come)
        released = stream.push(text[start:come], part if len(part.offsets) else None, scored=told)
        assert released.settled in ends, "a character was cut"
        assert released.settled >= settled
        settled = released.settled
        out.append(released.text)
        spans += released.spans
    if row < len(offsets):
        part = TokenScores(scores.offsets[row:], scores.probabilities[row:], scores.labels)
        released = stream.push("", part)
        out.append(released.text)
        spans += released.spans
    released = stream.finish()
    assert released.settled == len(text)
    return "".join([*out, released.text]), [*spans, *released.spans]


def fresh(case: Case) -> GuardStream:
    """A stream whose pseudonyms begin at 1."""
    policy = case.guard.policy
    limits = {label: float(rule.threshold) for label, rule in policy.labels.items()}
    return GuardStream(policy, LABELS, limits)


def check(random: Random, case: Case) -> None:
    """Stream a case, and compare."""
    expected = case.oracle()
    redacted, spans = run(random, case)
    assert redacted == expected.redacted
    assert spans == expected.spans
