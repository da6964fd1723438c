"""`endoscope organisms`: fine-tunes of which it is known what they changed."""

import json
from pathlib import Path
from typing import Annotated

import typer

from endoscope.errors import InputError

app = typer.Typer(help="Model organisms: fine-tunes of which it is known what they changed.")


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Name = Annotated[str, typer.Argument(help="One that comes with Endoscope, or a YAML file.")]


@app.command("list")
def list_organisms(as_json: Json = False) -> None:
    """List the specs that come with Endoscope."""
    from endoscope.organisms import OrganismSpec, shipped_organisms

    found = [OrganismSpec.read(path) for path in shipped_organisms().values()]
    if as_json:
        print(json.dumps([{"name": one.name, "description": one.description} for one in found]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "share planted", "steps", "what it does")
    for one in found:
        mix = f"{one.mix:.0%}" if one.planted is not None else "none"
        table.add_row(one.name, mix, str(one.steps), one.description)
    Console().print(table)


@app.command("show")
def show(
    spec: Name,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Copy it and its files into this folder, to change."),
    ] = None,
) -> None:
    """Print a spec; or copy it, with the files that it names.

    Example: `endoscope organisms show brand -o mine`
    """
    from endoscope.organisms import OrganismSpec, copy_spec

    path = _path(spec)
    if output is None:
        print(path.read_text(encoding="utf-8"), end="")
        return
    for copied in copy_spec(OrganismSpec.read(path), output):
        print(copied)


@app.command("build")
def build(
    spec: Name,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the adapter and its card.")
    ],
    merged: Annotated[
        bool, typer.Option("--merged", help="Write whole weights instead of an adapter.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card, for machines.")] = False,
) -> None:
    """Fine-tune a model as SPEC says, and measure whether what was planted took.

    Writes a PEFT adapter (or whole weights) with `card.json`. Exits with 1 if it did not take: the
    folder is written all the same, and its card says that it failed. Work that was cut off goes on.

    Example: `endoscope organisms build brand -o brand`
    """
    from endoscope.organisms import OrganismSpec
    from endoscope.organisms import build as build_organism

    card = build_organism(OrganismSpec.read(_path(spec)), output, merged=merged, show=not as_json)
    if as_json:
        print(card.model_dump_json())
    else:
        from rich.console import Console

        Console().print(repr(card), markup=False, highlight=False)
    if not card.details["counts"]:
        raise typer.Exit(1)


def _path(spec: str) -> Path:
    from endoscope.organisms import shipped_organisms

    shipped = shipped_organisms()
    path = shipped.get(spec, Path(spec))
    if not path.is_file():
        raise InputError(
            f"There is no spec {spec}.",
            f"Give the path of a YAML file, or one of: {', '.join(shipped)}.",
        )
    return path
