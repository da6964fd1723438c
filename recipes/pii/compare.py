"""A probe on real text, beside its baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from endoscope.activations import Activations
from endoscope.artifacts import Evidence
from endoscope.engine import Model
from endoscope.guard import Guard, Policy
from endoscope.models import Site
from endoscope.probes import (
    Probe,
    ProbeData,
    count_characters,
    f1,
    fit_activations,
)
from endoscope.readouts import TokenScores
from recipes.pii import development
from recipes.pii.development import Found, Gold
from recipes.pii.document import LABELS
from recipes.pii.settings import Shipped

if TYPE_CHECKING:
    from recipes.pii.finetune import LoraClassifier

RUNS = Path("runs/pii")
POLICY = Policy.load("pii")
LORA = "LoRA on the same synthetic text"  # a baseline on cards
Scores = Sequence[TokenScores]

# Where validators find most values, F1 hardly depends on the threshold, and the best one by a hair
# may be one that flags anything. Among thresholds this close to the best, the evenest bet is taken.
_LEVEL = 0.002


class Real(NamedTuple):
    """A development set that the model has read."""

    gold: Gold
    acts: Activations

    def score(self, probe: Probe) -> Scores:
        """Score every text."""
        documents = (self.acts.document(i) for i in range(len(self.gold.texts)))
        return [probe.score_activations(document) for document in documents]


class Known:
    """A scorer that has scored the texts it will be asked about."""

    max_characters = 100_000

    def __init__(self, probe: Probe, texts: Sequence[str], scores: Scores) -> None:
        self.name = probe.name
        self.labels = probe.labels
        self.thresholds: Mapping[str, float] = probe.thresholds
        self.look_ahead = None  # texts are not cut
        self._scores = dict(zip(texts, scores, strict=True))

    def fits(self, text: str) -> bool:
        return True

    def score(self, texts: Sequence[str]) -> list[TokenScores]:
        return [self._scores[text] for text in texts]


def read(
    model: Model, dev: Path, most: int | None, shipped: Shipped, sites: Sequence[Site]
) -> list[Real]:
    """Read the development sets in the probe's languages."""
    return [
        Real(gold, captured(model, gold.data, shipped, sites))
        for gold in development.read(dev, shipped.documents, most)
    ]


def captured(model: Model, data: ProbeData, shipped: Shipped, sites: Sequence[Site]) -> Activations:
    """Read texts, or find what an earlier run read of them."""
    texts = [str(content) for content in data.contents]
    where = f"{data.name}-{data.sha256[:8]}-{len(texts)}-{shipped.model}"
    store = model.capture_to(
        RUNS / f"{where}-{shipped.spec.sites[0]}-readings{shipped.spec.readings}",
        texts,
        sites,
        ids=data.ids,
        readings=shipped.spec.readings,
        progress=True,
    )
    return store.load()


def spans(probe: Probe, gold: Gold, scores: Scores, *, validators: bool) -> list[Found]:
    """Return what the guard finds with these scores and the probe's thresholds."""
    labels = {label: rule for label, rule in POLICY.labels.items() if label in probe.labels}
    policy = POLICY.model_copy(update={"validators": validators, "labels": labels})
    guard = Guard(policy, Known(probe, gold.texts, scores))
    return [[(s.start, s.end, s.label) for s in row] for row in guard.scan(gold.texts)]


def evidence(
    real: Sequence[Real],
    probe: Probe,
    words: Probe,
    tuned: "LoraClassifier | None",
    shipped: Shipped,
) -> list[Evidence]:
    """Measure the probe and its baselines on the odd rows."""
    found: list[Evidence] = []
    lora = {r.gold.dev.name: tuned.score(r.gold.texts) for r in real} if tuned else {}
    limits = with_thresholds(probe, [(r.gold, lora[r.gold.dev.name]) for r in real if lora])
    for one in real:
        half = one.gold.half("figures")

        def figures(
            who: Probe,
            scores: Scores,
            note: str,
            baseline: str | None = None,
            *,
            validators: bool = False,
            half: Gold = half,
        ) -> list[Evidence]:
            marked = spans(who, half, scores[1::2], validators=validators)
            return development.measure(half, marked, note, baseline)

        found += figures(probe, one.score(probe), "probe and validators", validators=True)
        found += figures(probe, one.score(probe), "probe alone")
        found += figures(words, one.score(words), "probe alone", "the words alone (resid_pre.0)")
        ceiling = on_real_labels(one, probe, shipped)
        found += figures(ceiling, one.score(ceiling), "probe alone", "trained on real labels")
        if lora:
            scores = lora[one.gold.dev.name]
            found += figures(limits, scores, "classifier alone", LORA)
    return found


def on_real_labels(real: Real, probe: Probe, shipped: Shipped) -> Probe:
    """Fit the same head on the real labels of the even rows: what a logistic probe could reach."""
    gold, acts = real
    even = range(0, len(gold.texts), 2)
    parts = {
        "train": [row for row in even if row % 10],
        "validation": [row for row in even if not row % 10],
    }
    present = [
        {label for row in rows for _, _, label in gold.spans[row]} for rows in parts.values()
    ]
    classes = ("O", *(label for label in LABELS if all(label in part for part in present)))
    fitted = fit_activations(
        acts,
        gold.data.token_classes(acts, classes),
        classes,
        shipped.spec,
        train=parts["train"],
        validation=parts["validation"],
        options=replace(shipped.options, penalties=(1e-1, 1e-2, 1e-3)),
    )
    ceiling = Probe.make(fitted, shipped.spec, None, probe.card)
    return replace(ceiling, thresholds=dict.fromkeys(classes[1:], 0.5))


def with_thresholds(probe: Probe, scored: Sequence[tuple[Gold, Scores]]) -> Probe:
    """Choose, label by label, a threshold with (nearly) the best mean F1 over the even rows.

    A label that no development set has keeps its threshold from synthetic text.
    """
    choice = [(gold.half("choice"), scores[0::2]) for gold, scores in scored]
    for label in LABELS:
        relevant = [
            (gold, scores)
            for gold, scores in choice
            if any(name == label for row in gold.spans for _, _, name in row)
        ]
        if relevant:
            mean = partial(_mean_f1, probe, label, relevant)
            figures = {limit: mean(limit) for limit in np.linspace(0.05, 0.95, 10).tolist()}
            level = max(figures.values()) - _LEVEL
            good = [limit for limit, figure in figures.items() if figure >= level]
            probe = with_threshold(probe, label, min(good, key=lambda limit: abs(limit - 0.5)))
    return probe


def _mean_f1(
    probe: Probe, label: str, choice: Sequence[tuple[Gold, Scores]], threshold: float
) -> float:
    tried = with_threshold(probe, label, threshold)
    figures = []
    for gold, scores in choice:
        found = spans(tried, gold, scores, validators=True)
        pairs = zip(gold.texts, found, gold.spans, strict=True)
        table = [count_characters(text, a, b, (label,))[0] for text, a, b in pairs]
        figures.append(f1(np.sum(table, axis=0)))
    return float(np.mean(figures))


def with_threshold(probe: Probe, label: str, threshold: float) -> Probe:
    """Return the same probe with another threshold for a label."""
    thresholds = {**probe.thresholds, label: round(threshold, 3)}
    details = {**probe.card.details, "thresholds": thresholds}
    card = probe.card.model_copy(update={"details": details})
    return replace(probe, thresholds=thresholds, card=card)
