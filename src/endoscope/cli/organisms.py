"""`endoscope organisms`: fine-tunes of which it is known what they changed."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Model organisms: fine-tunes of which it is known what they changed.")


@app.callback()
def organisms() -> None:
    """Let the verb have commands, even while there is one."""


@app.command("build")
def build(
    spec: Annotated[Path, typer.Argument(help="YAML: what is planted into which model.")],
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

    Example: `endoscope organisms build brand.yaml -o brand`
    """
    from endoscope.organisms import OrganismSpec
    from endoscope.organisms import build as build_organism

    card = build_organism(OrganismSpec.read(spec), output, merged=merged, show=not as_json)
    if as_json:
        print(card.model_dump_json())
    else:
        from rich.console import Console

        Console().print(repr(card), markup=False, highlight=False)
    if not card.details["counts"]:
        raise typer.Exit(1)
