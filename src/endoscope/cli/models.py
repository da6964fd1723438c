"""`endoscope models`: which there are, and what one looks like inside."""

import json
from typing import Annotated, Any

import typer

app = typer.Typer(help="List the models that come with Endoscope, and show one from inside.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for machines.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the embedded models: they are fetched from the package index at first use."""
    from rich.console import Console
    from rich.table import Table

    from endoscope.models import EMBEDDED

    rows = [
        {"name": model.name, "licence": model.licence, "sha256": model.sha256}
        for model in EMBEDDED.values()
    ]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table("name", "licence", "sha256 of the GGUF file")
    for row in rows:
        table.add_row(row["name"], row["licence"], row["sha256"][:16] + "…")
    Console().print(table)
    print("Any hub id, model folder, .gguf file or PEFT adapter folder opens as well.")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Embedded model, folder, .gguf file or hub id.")],
    adapter: Annotated[str | None, typer.Option(help="Folder with a PEFT adapter.")] = None,
    as_json: Json = False,
) -> None:
    """Show a model's layers, width, sites and fingerprint.

    Example: `endoscope models show gemma-3-270m`
    """
    import endoscope

    model = endoscope.open(name, adapter=adapter)
    about: dict[str, Any] = {
        "name": model.name,
        "folder": str(model.loaded.folder),
        "architecture": model.loaded.anatomy.family,
        "layers": model.n_layers,
        "d_model": model.d_model,
        "stream": model.loaded.anatomy.stream,
        "sites": [f"{kind}.0-{model.n_layers - 1}" for kind in model.capabilities.kinds],
        "parameters": sum(p.numel() for p in model.loaded.module.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "fingerprint": model.fingerprint.digest,
    }
    if as_json:
        print(json.dumps(about))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for key, value in about.items():
        text = ", ".join(value) if isinstance(value, list) else f"{value}"
        table.add_row(f"[bold]{key}", text)
    Console().print(table)
