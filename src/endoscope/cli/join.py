"""`endoscope join`: one store of the parts that several processes captured."""

from pathlib import Path
from typing import Annotated

import typer

from endoscope.cli.capture import Json, say


def join(
    parts: Annotated[list[Path], typer.Argument(help="Folders of all parts, in any order.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the store.")],
    as_json: Json = False,
) -> None:
    """Put the PARTS that `endoscope capture --part` wrote together, in the order of the data.

    All of them must be there, complete, and of the same data, model and sites. They are copied; if
    the work is cut off, run the same command again: it goes on where it was.

    Example: `endoscope join acts-1 acts-2 -o acts`
    """
    from endoscope.activations import ActivationStore

    say(ActivationStore.join(output, parts, progress=not as_json), as_json)
