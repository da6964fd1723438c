"""Makes the shipped PII probes and the evidence on their cards.

    python -m recipes.pii.build [NAME ...] [--dev FOLDER]

Everything is learned from synthetic text. `--dev` names a folder with real text (see
`development.py`): half of it chooses the thresholds, the other half gives the figures. Without it
thresholds come from synthetic text and the card has synthetic figures only.

Activations are kept under `runs/`, so a run that was cut off goes on where it was.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import endoscope
from endoscope.activations import Activations
from endoscope.artifacts import Card
from endoscope.engine import Model
from endoscope.guard import Guard, Policy
from endoscope.models import Site
from endoscope.probes import Probe, ProbeData, fit_activations, token_labels
from endoscope.readouts import FeatureSpec, TokenScores
from recipes.pii import development, synthetic
from recipes.pii.development import Gold
from recipes.pii.document import LABELS
from recipes.pii.settings import SHIPPED, Shipped

RUNS = Path("runs/pii")
PACKAGE = Path("src/endoscope/probes/shipped")
CLASSES = ("O", *LABELS)
WORDS_ALONE = Site(0, "resid_pre")
POLICY = Policy.load("pii")


class Known:
    """A scorer that has scored the texts it will be asked about."""

    max_characters = 100_000

    def __init__(self, probe: Probe, texts: Sequence[str], scores: Sequence[TokenScores]) -> None:
        self.name = probe.name
        self.labels = probe.labels
        self.thresholds: Mapping[str, float] = probe.thresholds
        self._scores = dict(zip(texts, scores, strict=True))

    def score(self, texts: Sequence[str]) -> list[TokenScores]:
        return [self._scores[text] for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="which probes; all if left out")
    parser.add_argument("--dev", type=Path, help="folder with the development sets")
    args = parser.parse_args()
    for shipped in SHIPPED:
        if not args.names or shipped.name in args.names:
            card = build(shipped, args.dev).save(PACKAGE / shipped.name)
            print(card.to_markdown())


def build(shipped: Shipped, dev: Path | None) -> Probe:
    """Fit one probe on synthetic text, choose its thresholds and measure it."""
    model = endoscope.open(shipped.model, dtype="fast")
    data = synthetic.write(RUNS, shipped.documents, shipped.seed)
    acts = captured(model, data, shipped)
    probe = fit(model, data, acts, shipped, shipped.spec)
    words = fit(model, data, acts, shipped, replace(shipped.spec, sites=(WORDS_ALONE,)))
    del acts
    if dev is None:
        return probe
    golds = development.read(dev, shipped.documents)
    scored = {gold.dev.name: score(model, gold, (probe, words)) for gold in golds}
    probe = with_thresholds(probe, golds, {name: s[0] for name, s in scored.items()})
    words = with_thresholds(words, golds, {name: s[1] for name, s in scored.items()})
    evidence = []
    for gold in golds:
        half = gold.half("figures")
        ours, theirs = (scores[1::2] for scores in scored[gold.dev.name])
        for found, note, baseline in (
            (spans(probe, half, ours, validators=True), "probe and validators", None),
            (spans(probe, half, ours, validators=False), "probe alone", None),
            (spans(words, half, theirs, validators=False), "probe alone", "resid_pre.0"),
        ):
            evidence += development.measure(half, found, note, baseline)
    return probe.with_evidence([*probe.card.evidence, *evidence])


def captured(model: Model, data: ProbeData, shipped: Shipped) -> Activations:
    """Read the synthetic text, or find what an earlier run read of it."""
    store = model.capture_to(
        RUNS / f"{shipped.name}-{data.sha256[:12]}",
        [str(content) for content in data.contents],
        [*shipped.spec.sites, WORDS_ALONE],
        ids=data.ids,
        readings=shipped.spec.readings,
        progress=True,
    )
    return store.load()


def fit(
    model: Model, data: ProbeData, acts: Activations, shipped: Shipped, spec: FeatureSpec
) -> Probe:
    """Fit on 85% of the synthetic documents, calibrate on 5%, and measure on the last 10%."""
    classes = torch.zeros(len(acts), dtype=torch.long)
    for number, document in enumerate(data.documents):
        rows = acts.rows(number)
        classes[rows] = token_labels(acts.offsets[rows], document.spans or (), CLASSES)
    shares = {"train": 0.85, "validation": 0.05, "test": 0.10}
    parts = data.split(shares, seed=shipped.seed)
    fitted = fit_activations(
        acts,
        classes,
        CLASSES,
        spec,
        train=parts["train"],
        validation=parts["validation"],
        options=shipped.options,
    )
    card = Card(
        kind="probe",
        name=shipped.name,
        model=model.fingerprint,
        model_name=model.name,
        data=data.ref.model_copy(update={"licence": "Apache-2.0"}),
        seed=shipped.seed,
        command=f"python -m recipes.pii.build {shipped.name} --dev DEV",
        notes=(
            "Fitted on synthetic text only. Where a figure is on real text, half of that text "
            "(the even rows) chose the thresholds, and the other half was measured."
        ),
        details={"penalty": fitted.penalty, "fpr": shipped.options.fpr},
    )
    probe = Probe.make(fitted, spec, None, card)
    test = data.take(parts["test"], "test")
    return probe.with_evidence(probe.evidence_on(test, map(acts.document, parts["test"])))


def score(model: Model, gold: Gold, probes: Sequence[Probe]) -> list[list[TokenScores]]:
    """Score a development set with several probes of one model, reading it once."""
    sites = list(dict.fromkeys(site for probe in probes for site in probe.spec.sites))
    readings = probes[0].spec.readings
    acts = model.capture(gold.texts, sites, readings=readings, progress=True)
    documents = [acts.document(i) for i in range(len(gold.texts))]
    return [[probe.score_activations(document) for document in documents] for probe in probes]


def spans(
    probe: Probe, gold: Gold, scores: Sequence[TokenScores], *, validators: bool
) -> Sequence[development.Found]:
    """Return what the guard finds."""
    policy = POLICY.model_copy(update={"validators": validators})
    guard = Guard(policy, Known(probe, gold.texts, scores))
    return guard.scan(gold.texts)


def with_thresholds(
    probe: Probe, golds: Sequence[Gold], scores: Mapping[str, Sequence[TokenScores]]
) -> Probe:
    """Choose, label by label, the threshold with the best mean F1 over the even rows.

    A label that no development set has keeps its threshold from synthetic text.
    """
    choice = [(gold.half("choice"), scores[gold.dev.name][0::2]) for gold in golds]
    for label in LABELS:
        relevant = [
            (gold, scored)
            for gold, scored in choice
            if any(name == label for row in gold.spans for _, _, name in row)
        ]
        if relevant:
            mean = partial(_mean_f1, probe, label, relevant)
            best = max(np.linspace(0.05, 0.95, 19).tolist(), key=mean)
            probe = _with_threshold(probe, label, best)
    return probe


def _mean_f1(
    probe: Probe,
    label: str,
    choice: Sequence[tuple[Gold, Sequence[TokenScores]]],
    threshold: float,
) -> float:
    tried = _with_threshold(probe, label, threshold)
    figures = []
    for gold, scored in choice:
        found = spans(tried, gold, scored, validators=True)
        pairs = zip(gold.texts, found, gold.spans, strict=True)
        table = [development.counts(text, a, b, (label,)) for text, a, b in pairs]
        figures.append(development.f1(np.sum(table, axis=0)))
    return float(np.mean(figures))


def _with_threshold(probe: Probe, label: str, threshold: float) -> Probe:
    thresholds = {**probe.thresholds, label: round(threshold, 3)}
    details = {**probe.card.details, "thresholds": thresholds}
    card = probe.card.model_copy(update={"details": details})
    return replace(probe, thresholds=thresholds, card=card)


if __name__ == "__main__":
    main()
