"""`endoscope catalogue`: the cards of a folder, and whether a model is still within them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from endoscope.errors import InputError

app = typer.Typer(help="Cards in a folder: what is known of models, and what they may do.")

Folder = Annotated[Path, typer.Argument(help="The catalogue: a folder, which may live in git.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
ModelName = Annotated[str, typer.Option(help="Embedded model, folder, .gguf file or hub id.")]
Adapter = Annotated[str | None, typer.Option(help="Folder with a PEFT adapter to put on it.")]
Device = Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `mps`.")]
Dtype = Annotated[str, typer.Option(help="`auto`, `fast`, `float32`, `bfloat16` or `float16`.")]


@app.command("list")
def list_cards(catalogue: Folder, as_json: Json = False) -> None:
    """List the cards: behaviours with where they stand, probes, directions and all else."""
    from endoscope.catalogue import KIND, Catalogue, Entry

    rows = [
        {
            "name": name,
            "kind": card.kind,
            "model": card.model_name,
            "stage": Entry.of(card).stage if card.kind == KIND else None,
            "evidence": str(card.evidence[0]) if card.evidence else None,
        }
        for name, card in Catalogue(catalogue).cards()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "kind", "model", "stage", "evidence")
    for row in rows:
        table.add_row(*(value or "" for value in row.values()))
    Console().print(table)


@app.command("show")
def show(
    catalogue: Folder,
    name: Annotated[str, typer.Argument(help="Of a card, as `list` says it.")],
    as_json: Json = False,
) -> None:
    """Print a card, whole, as a page of Markdown."""
    from endoscope.catalogue import Catalogue

    card = Catalogue(catalogue).card(name)
    print(card.model_dump_json() if as_json else card.to_markdown(), end="\n" * as_json)


@app.command("record")
def record(
    behaviour: Annotated[str, typer.Argument(help="One that comes with Endoscope, or a file.")],
    model: ModelName,
    output: Annotated[Path, typer.Option("--output", "-o", help="The catalogue.")],
    adapter: Adapter = None,
    at_least: Annotated[float | None, typer.Option(help="The least mean that is allowed.")] = None,
    at_most: Annotated[float | None, typer.Option(help="The most that is allowed.")] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            help="`seen`, `explained`, `mitigated`, `verified` or `guarded`; left out: where it "
            "stands, or `seen`."
        ),
    ] = None,
    note: Annotated[str, typer.Option(help="What was done, or seen.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of what is sampled.")] = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Measure BEHAVIOUR on a model and keep it in a catalogue, with how much of it there may be.

    Without a bound it is the 95% interval of what is measured now. Its history goes on: record it
    again when it comes to the next stage.

    Example: `endoscope catalogue record promotion --model my-model --at-most 0.05 -o catalogue`
    """
    from endoscope.behaviours import Behaviour
    from endoscope.catalogue import STAGES, Bound, Entry
    from endoscope.catalogue import record as record_behaviour
    from endoscope.engine import open

    reached = next((one for one in STAGES if one == stage), None)
    if stage is not None and reached is None:
        raise InputError(f"There is no stage {stage!r}.", f"Choose one of: {', '.join(STAGES)}.")
    if at_least is not None and at_most is not None and at_least > at_most:
        raise InputError("--at-least is above --at-most.", "Swap them.")
    given = at_least is not None or at_most is not None
    found = Behaviour.load(behaviour)
    card = record_behaviour(
        output / found.name,
        open(model, adapter=adapter, device=device, dtype=dtype),
        found,
        bound=Bound(at_least=at_least, at_most=at_most) if given else None,
        stage=reached,
        note=note,
        seed=seed,
        show=not as_json,
    )
    if as_json:
        print(card.model_dump_json())
        return
    print(repr(card))
    bound = Entry.of(card).bound
    mean = next(one.value for one in card.evidence if one.metric == "mean")
    broken = "" if bound.holds(mean) else f": it does not hold ({mean:.4g})"
    print(f"  bound     {bound}{broken}")


@app.command("check")
def check(
    catalogue: Folder,
    model: ModelName,
    adapter: Adapter = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Measure every behaviour of a catalogue again; exit with 1 if one is past its bound.

    Made for a release pipeline: a model that has drifted does not pass.

    Example: `endoscope catalogue check catalogue --model my-model-v2`
    """
    from endoscope.catalogue import Catalogue
    from endoscope.catalogue import check as check_model
    from endoscope.engine import open

    cards = Catalogue(catalogue)
    opened = open(model, adapter=adapter, device=device, dtype=dtype)
    found = list(check_model(cards, opened, show=not as_json))
    if not found:
        raise InputError(
            f"{catalogue} has no behaviours to check.", "Add some: endoscope catalogue record"
        )
    if as_json:
        for one in found:
            print(
                json.dumps(
                    {
                        "name": one.name,
                        "before": one.before,
                        "now": one.now.model_dump(),
                        "bound": one.bound.model_dump(),
                        "model": one.relation,
                        "holds": one.holds,
                    }
                )
            )
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("behaviour", "on the card", "now", "bound", "model", "")
        for one in found:
            verdict = "holds" if one.holds else "BROKEN"
            table.add_row(
                one.name, f"{one.before:.3f}", str(one.now), str(one.bound), one.relation, verdict
            )
        Console().print(table)
    if not all(one.holds for one in found):
        raise typer.Exit(1)


@app.command("export")
def export(
    catalogue: Folder,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file: `.md`, or `.safetensors`.")
    ],
) -> None:
    """Write a catalogue as one page of Markdown, or its tensors and cards as one file.

    Example: `endoscope catalogue export catalogue -o catalogue.md`
    """
    from endoscope.artifacts import atomic_file
    from endoscope.catalogue import Catalogue, to_markdown, to_safetensors

    found = Catalogue(catalogue)
    if output.suffix == ".safetensors":
        to_safetensors(found, output)
    elif output.suffix == ".md":
        with atomic_file(output) as temporary:
            temporary.write_text(to_markdown(found), encoding="utf-8")
    else:
        raise InputError(f"{output} is no file that can be written.", "End it .md or .safetensors.")
    print(f"Written to {output}.")
