"""Recall of a label at 1% false positives: heads and layers, and the words alone beside them.

    python -m recipes.harmful.table TRAIN.jsonl TEST.jsonl [--model NAME] [--sites SITES]

Both files are in the probe data format, with two labels; the more frequent one in TRAIN means
"nothing here". Probes are fitted on TRAIN (85% to fit on, 15% to choose the penalty, calibrate and
set thresholds) and measured on TEST. What is printed is a table in Markdown, with 95% intervals.

Activations are kept under `runs/`, so a run that was cut off goes on where it was.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import endoscope
from endoscope.activations import Activations
from endoscope.artifacts import Card
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site, parse_sites
from endoscope.probes import FitOptions, Probe, ProbeData, fit_activations
from endoscope.probes.reading import read_all
from endoscope.readouts import FeatureSpec, Pooling

KEEP = Path("runs/harmful")
WORDS_ALONE = Site(0, "resid_pre")
ROWS = (
    ("logistic", "mean"),
    ("logistic", "last"),
    ("logistic", "rolling_mean_max:8"),
    ("mass_mean", "mean"),
    ("attention", "max"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path, help="probe data to fit on")
    parser.add_argument("test", type=Path, help="probe data to measure on")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--sites", default="resid_post.10,resid_post.20")
    args = parser.parse_args()
    try:
        train, test = ProbeData.read(args.train), ProbeData.read(args.test)
        for line in table(endoscope.open(args.model), train, test, args.sites, KEEP):
            print(line, flush=True)
    except InputError as error:
        sys.exit(str(error))


def table(
    model: Model, train: ProbeData, test: ProbeData, sites: str, keep: Path | None = None
) -> Iterable[str]:
    """Yield the lines of the table; every document is read once for all of it."""
    labels = train.labels()
    if train.level != "document" or len(labels) != 2:
        raise InputError(f"{train.name} has not two labels.", "Give documents of two kinds.")
    test.check_labels(labels)
    columns = (*parse_sites(sites), WORDS_ALONE)
    spec = FeatureSpec(columns)
    fit_on = read_all(model, train, spec, keep=keep, progress=True)
    measure_on = read_all(model, test, spec, keep=keep, progress=True)
    heads = [str(site) for site in columns[:-1]] + [f"words alone ({WORDS_ALONE})"]
    yield f"| head, pooling | {' | '.join(heads)} |"
    yield "|---" * (1 + len(columns)) + "|"
    for head, pooling in ROWS:
        probes = (fit(model, train, fit_on, site, head, pooling) for site in columns)
        cells = (recall(probe, test, measure_on) for probe in probes)
        yield f"| {head}, {pooling} | {' | '.join(cells)} |"


def fit(
    model: Model, train: ProbeData, acts: Activations, site: Site, head: str, pooling: str
) -> Probe:
    """Fit a probe as `Probe.fit` does with other data held out, on activations read before."""
    labels = train.labels()
    spec, pools, options = FeatureSpec((site,)), Pooling.parse(pooling), FitOptions(head=head)
    parts = train.split({"train": 0.85, "validation": 0.15}, seed=options.seed)
    fitted = fit_activations(
        acts,
        train.classes(labels),
        labels,
        spec,
        train=parts["train"],
        validation=parts["validation"],
        pooling=pools,
        options=options,
    )
    card = Card(
        kind="probe",
        name=f"{head} {pooling}",
        model=model.fingerprint,
        model_name=model.name,
        data=train.ref,
        command="python -m recipes.harmful.table",
    )
    return Probe.make(fitted, spec, pools, card)


def recall(probe: Probe, test: ProbeData, acts: Activations) -> str:
    """Measure one probe: a cell of the table."""
    evidence = probe.evidence_on(test, map(acts.document, range(len(test))))
    (figure,) = (figure for figure in evidence if figure.metric == "recall_at_fpr_0.01")
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


if __name__ == "__main__":
    main()
