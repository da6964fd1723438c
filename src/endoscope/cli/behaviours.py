"""`endoscope behaviours`: what there is, what a spec says, and measuring one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.behaviours import Behaviour

app = typer.Typer(help="What a model does, written down and measured.")

Spec = Annotated[
    str, typer.Argument(help="One that comes with Endoscope, such as `sea`, or a YAML file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--as",
        help="The file is no spec but: `matching` (anthropics/evals), `picked-side`, `mirrored`, "
        "`own-words` (syco-bench), `refusals` (instructions).",
    ),
]
Controls = Annotated[
    Path | None, typer.Option(help="With `--as refusals`: instructions that nobody should refuse.")
]


@app.command("list")
def list_behaviours(as_json: Json = False) -> None:
    """List the behaviours that come with Endoscope."""
    from endoscope.behaviours import Behaviour, shipped_behaviours

    found = [Behaviour.load(path) for path in shipped_behaviours().values()]
    if as_json:
        print(json.dumps([_about(one) for one in found]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "items", "controls", "scored by", "what it is")
    for one in found:
        table.add_row(
            one.name,
            str(len(one.items)),
            str(len(one.controls)),
            one.scorer.kind,
            one.description,
        )
    Console().print(table)


@app.command("show")
def show(spec: Spec, form: Format = None, controls: Controls = None, as_json: Json = False) -> None:
    """Print a behaviour, whole, as the YAML that `measure` reads.

    Example: `endoscope behaviours show persona.jsonl --as matching > persona.yaml`
    """
    behaviour = _read(spec, form, controls)
    print(behaviour.model_dump_json() if as_json else behaviour.to_yaml(), end="\n" * as_json)


@app.command("measure")
def measure(
    spec: Spec,
    model: Annotated[str, typer.Option(help="Embedded model, folder, .gguf file or hub id.")],
    adapter: Annotated[
        str | None, typer.Option(help="Folder with a PEFT adapter to put on it.")
    ] = None,
    interventions: Annotated[
        Path | None,
        typer.Option(help="JSON: what changes the model meanwhile, a list of interventions."),
    ] = None,
    form: Format = None,
    controls: Controls = None,
    seed: Annotated[int, typer.Option(help="Of what is sampled, and of the intervals.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it to this file too, with what was generated."),
    ] = None,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="`auto`, `fast`, `float32`, `bfloat16` or `float16`.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Measure a behaviour, with 95% intervals over items.

    Example: `endoscope behaviours measure sea --model smollm2-135m-instruct -o sea.json`
    """
    from endoscope.behaviours import measure as measure_behaviour
    from endoscope.engine import open

    behaviour = _read(spec, form, controls)
    changes = _interventions(interventions)
    opened = open(model, adapter=adapter, device=device, dtype=dtype)
    with opened.intervene(*changes):
        found = measure_behaviour(opened, behaviour, seed=seed, progress=not as_json)
    if output is not None:
        found.save(output)
    if as_json:
        print(found.model_dump_json())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", "figure", title=f"{found.behaviour} of {found.model_name}")
    for row in found.rows():
        table.add_row(*row)
    console = Console()
    console.print(table)
    if found.tail.worst:
        console.print(f"Most of it: {', '.join(found.tail.worst)}.", markup=False)
    if output is not None:
        console.print(f"Saved to {output}.", markup=False, highlight=False)


def _read(spec: str, form: str | None, controls: Path | None) -> "Behaviour":
    from endoscope.behaviours import Behaviour, read_format

    if form is not None:
        return read_format(spec, form, controls)
    if controls is not None:
        raise InputError("--controls goes with --as refusals.", "A spec names its own controls.")
    return Behaviour.load(spec)


def _interventions(path: Path | None) -> tuple[Any, ...]:
    if path is None:
        return ()
    from endoscope import jsonl
    from endoscope.interventions import parse_interventions

    try:
        records = json.loads(jsonl.read_bytes(path))
    except ValueError:
        raise InputError(f"{path} is not valid JSON.", 'Give [{"kind": ...}, ...].') from None
    return parse_interventions(records)


def _about(behaviour: "Behaviour") -> dict[str, Any]:
    return {
        "name": behaviour.name,
        "description": behaviour.description,
        "items": len(behaviour.items),
        "controls": len(behaviour.controls),
        "scorer": behaviour.scorer.kind,
    }
