"""Makes the shipped PII probes and the evidence on their cards.

    python -m recipes.pii.build [NAME ...] [--dev FOLDER] [--choose] [--lora]

Everything is learned from synthetic text. `--dev` names a folder with real text (see
`development.py`): its odd rows give the figures on the card, those of the baselines beside them.
Figures on real text that a run does not measure stay on the card if the probe came out the same.
With `--choose` the even rows choose its thresholds, which are printed, for `settings.py`.

Activations are kept under `runs/`, so a run that was cut off goes on where it was.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import endoscope
from endoscope.activations import Activations
from endoscope.artifacts import Card
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site
from endoscope.probes import Probe, ProbeData, fit_activations
from endoscope.readouts import FeatureSpec
from recipes.pii import compare, synthetic
from recipes.pii.document import LABELS
from recipes.pii.settings import SHIPPED, Shipped

PACKAGE = Path("src/endoscope/probes/shipped")
CLASSES = ("O", *LABELS)
WORDS_ALONE = Site(0, "resid_pre")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="which probes; all if left out")
    parser.add_argument("--dev", type=Path, help="folder with the development sets")
    parser.add_argument("--most", type=int, help="read at most so many rows of each set")
    parser.add_argument("--choose", action="store_true", help="choose the thresholds anew")
    parser.add_argument("--lora", action="store_true", help="measure a LoRA classifier as well")
    args = parser.parse_args()
    for shipped in SHIPPED:
        if not args.names or shipped.name in args.names:
            probe = build(shipped, args.dev, args.most, choose=args.choose, lora=args.lora)
            print(probe.thresholds)
            probe = with_command(with_kept_figures(probe, PACKAGE / shipped.name))
            card = probe.save(PACKAGE / shipped.name)
            print(card.to_markdown(), flush=True)


def build(
    shipped: Shipped,
    dev: Path | None,
    most: int | None = None,
    *,
    choose: bool = False,
    lora: bool = False,
) -> Probe:
    """Fit one probe on synthetic text and measure it."""
    model = endoscope.open(shipped.model, dtype="fast")
    data = synthetic.write(compare.RUNS, shipped.documents, shipped.seed)
    sites = (*shipped.spec.sites, WORDS_ALONE)
    acts = compare.captured(model, data, shipped, sites)
    probe = fit(model, data, acts, shipped, shipped.spec)
    for label, threshold in shipped.thresholds.items():
        probe = compare.with_threshold(probe, label, threshold)
    if dev is None:
        return probe
    words = fit(model, data, acts, shipped, replace(shipped.spec, sites=(WORDS_ALONE,)))
    del acts
    real = compare.read(model, dev, most, shipped, sites)
    if choose:
        probe = compare.with_thresholds(probe, [(r.gold, r.score(probe)) for r in real])
    words = compare.with_thresholds(words, [(r.gold, r.score(words)) for r in real])
    tuned = None
    if lora:
        from recipes.pii.finetune import finetune

        own = endoscope.open(shipped.model, dtype="fast")  # its blocks are changed in place
        kept = compare.RUNS / f"lora-{shipped.name}-{data.sha256[:8]}.safetensors"
        tuned = finetune(own, data, shipped.spec, CLASSES, seed=shipped.seed, kept=kept)
    evidence = compare.evidence(real, probe, words, tuned, shipped)
    return probe.with_evidence([*probe.card.evidence, *evidence])


def fit(
    model: Model, data: ProbeData, acts: Activations, shipped: Shipped, spec: FeatureSpec
) -> Probe:
    """Fit on 85% of the synthetic documents, calibrate on 5%, and measure on the last 10%."""
    shares = {"train": 0.85, "validation": 0.05, "test": 0.10}
    parts = data.split(shares, seed=shipped.seed)
    fitted = fit_activations(
        acts,
        data.token_classes(acts, CLASSES),
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
        command=_command(shipped.name),
        notes=(
            "Fitted on synthetic text only. Where a figure is on real text, half of that text "
            "(the even rows) chose the thresholds, for the best F1, and the other half was "
            "measured. The layer, the look-ahead and the penalty were chosen on real text too. "
            "Labels that no real text has are given from a probability of 0.5 on."
        ),
        details={
            "penalty": fitted.penalty,
            "languages": list(shipped.documents),
        },
    )
    probe = Probe.make(fitted, spec, None, card)
    test = data.take(parts["test"], "test")
    return probe.with_evidence(probe.evidence_on(test, map(acts.document, parts["test"])))


def with_command(probe: Probe) -> Probe:
    """Return the probe with the command on its card that makes all of its figures again."""
    if not any(figure.baseline == compare.LORA for figure in probe.card.evidence):
        return probe
    command = f"{_command(probe.name)} --lora"
    return replace(probe, card=probe.card.model_copy(update={"command": command}))


def _command(name: str) -> str:
    return f"python -m recipes.pii.build {name} --dev DEV --most 1000"


def with_kept_figures(probe: Probe, folder: Path) -> Probe:
    """Return the probe with the figures on real text that only the one in a folder has.

    Nothing is kept if that is another probe.
    """
    try:
        old = Probe.load(folder)
    except InputError:
        return probe
    ours, theirs = probe.head.tensors(), old.head.tensors()
    same = old.thresholds == probe.thresholds and ours.keys() == theirs.keys()
    if not (same and all(torch.equal(ours[name], theirs[name]) for name in ours)):
        return probe
    new = probe.card.evidence
    measured = {(figure.data.name, figure.baseline) for figure in new}
    kept = [
        figure
        for figure in old.card.evidence
        if figure.split == "figures" and (figure.data.name, figure.baseline) not in measured
    ]
    return probe.with_evidence([*new, *kept])


if __name__ == "__main__":
    main()
