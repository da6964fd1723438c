"""`endoscope probe`: fit a probe on labelled text, and measure one."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.artifacts import Evidence
    from endoscope.engine import Model
    from endoscope.probes import Probe

app = typer.Typer(help="Fit a probe on a model's activations, and measure one.")

Data = Annotated[
    Path,
    typer.Argument(
        help='JSON lines: `{"id", "text" or "messages", "label" or "spans"}`; `spans` are '
        "`[[start, end, label], …]` in code points, end exclusive."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
Keep = Annotated[
    Path | None,
    typer.Option(
        help="Keep the activations in this folder, rounded to bfloat16: work that was cut off goes "
        "on there, and the same data and sites are not read again."
    ),
]
Device = Annotated[str, typer.Option(help="Where it runs: `auto`, `cpu`, `cuda`, `mps`.")]
Dtype = Annotated[str, typer.Option(help="`auto`, `fast`, `float32`, `bfloat16` or `float16`.")]
Adapter = Annotated[str | None, typer.Option(help="Folder with a PEFT adapter to put on it.")]


@app.command("fit")
def fit(
    data: Data,
    model: Annotated[str, typer.Option(help="Embedded model, folder, .gguf file or hub id.")],
    sites: Annotated[str, typer.Option(help="Such as `resid_post.12` or several, with commas.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the probe.")],
    adapter: Adapter = None,
    look_ahead: Annotated[
        int, typer.Option(min=0, help="Following tokens to use: the latency of streamed scores.")
    ] = 0,
    readings: Annotated[
        int, typer.Option(min=1, max=2, help="2: read each text twice. Cannot stream.")
    ] = 1,
    head: Annotated[str, typer.Option(help="`logistic`, `mass_mean` or `attention`.")] = "logistic",
    pooling: Annotated[
        str | None,
        typer.Option(
            help="Of document labels: `mean`, `max`, `last`, `softmax`, `top_k_mean:8`, "
            "`rolling_mean_max:16`."
        ),
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Tokens the attention head looks over.")] = 32,
    negative: Annotated[
        str | None, typer.Option(help='The document label for "nothing"; else the most frequent.')
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Other data to measure on, instead of 15% of this.")
    ] = None,
    fpr: Annotated[
        float, typer.Option(min=0, max=1, help="False positive rate that thresholds are set for.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    keep: Keep = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a probe that is there.")] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Fit a probe, calibrate it, and measure it on documents that it has not seen.

    Example: `endoscope probe fit harmful.jsonl --model smollm2-135m-instruct
    --sites resid_post.15 -o harmful-probe`
    """
    from endoscope.artifacts import check_free
    from endoscope.artifacts.kinds import kind_of
    from endoscope.engine import open
    from endoscope.probes import FitOptions, Probe, ProbeData

    check_free(output, "probe")  # before the work, which takes minutes
    if kind_of(output) is not None and not force:
        raise InputError(
            f"There is a probe in {output} already.", "Choose another folder, or add --force."
        )
    documents = ProbeData.read(data)
    others = ProbeData.read(held_out) if held_out else None
    opened = open(model, adapter=adapter, device=device, dtype=dtype)
    probe = Probe.fit(
        opened,
        documents,
        sites=sites,
        look_ahead=look_ahead,
        readings=readings,
        head=head,
        pooling=pooling,
        held_out=others,
        negative=negative,
        name=output.resolve().name,
        options=FitOptions(fpr=fpr, seed=seed, window=window),
        keep=keep,
        progress=not as_json,
    )
    card = probe.save(output)
    _report(probe, opened, card.evidence, as_json, saved=str(output))


@app.command("eval")
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A probe that `probe fit` made.")],
    data: Data,
    model: Annotated[
        str | None, typer.Option(help="The model to read; the one on the card if left out.")
    ] = None,
    adapter: Adapter = None,
    keep: Keep = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Measure a probe on labelled text, with 95% intervals over documents.

    Example: `endoscope probe eval harmful-probe other.jsonl --json`
    """
    from endoscope.engine import open
    from endoscope.probes import Probe, ProbeData

    probe, documents = Probe.load(folder), ProbeData.read(data)
    if model is None:
        model, adapter = probe.card.model_name, adapter or probe.card.adapter
    opened = open(model, adapter=adapter, device=device, dtype=dtype)
    evidence = probe.evaluate(opened, documents, keep=keep, progress=not as_json)
    _report(probe, opened, evidence, as_json)


def _report(
    probe: "Probe",
    model: "Model",
    evidence: Sequence["Evidence"],
    as_json: bool,
    saved: str | None = None,
) -> None:
    for note in dict.fromkeys(figure.note for figure in evidence if figure.note):
        print(f"endoscope: {note}", file=sys.stderr)
    if as_json:
        about: dict[str, Any] = {
            "probe": probe.name,
            "model": model.name,
            "adapter": model.adapter,
            "transferred": probe.card.model.relation(model.fingerprint) == "derived",
            "sites": list(probe.card.sites),
            "details": probe.card.details,
            "evidence": [figure.model_dump(mode="json") for figure in evidence],
        }
        print(json.dumps(about if saved is None else {**about, "saved": saved}))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(repr(probe.with_evidence(())), markup=False, highlight=False)
    data = ", ".join(dict.fromkeys(f"{e.data.name} ({e.split}, {e.n:,})" for e in evidence))
    table = Table("metric", "label", "value", "95% interval", title=f"documents of {data}")
    for figure in evidence:
        table.add_row(
            figure.metric,
            figure.label or "all",
            f"{figure.value:.3f}",
            f"{figure.low:.3f} to {figure.high:.3f}",
        )
    console.print(table)
    if saved is not None:
        console.print(f"Saved to {saved}.", markup=False, highlight=False)
