"""What several verbs take."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from endoscope.errors import InputError

Engine = Annotated[
    str, typer.Option(help="`transformers`, or `vllm` in its own environment (`make vllm`).")
]
Vllm = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="An option of vLLM's `EngineArgs`, its value in JSON, such as "
        "`tensor_parallel_size=2` (repeat).",
    ),
]


def vllm_options(texts: list[str] | None) -> dict[str, Any]:
    """Read what `--vllm` was given.

    Raises:
        InputError: an option has no name, is there twice, or is one of our own.
    """
    given = named(texts, "--vllm", of="VALUE")
    for name, option in (("dtype", "--dtype"), ("model", "MODEL"), ("kinds", "--kind")):
        if name in given:
            raise InputError(f"--vllm {name} is an option of Endoscope's own.", f"Give {option}.")
    return {name: _value(text) for name, text in given.items()}


def split(text: str) -> tuple[str | None, str]:
    """Read `NAME=WHERE`, or `WHERE` alone."""
    name, equals, path = text.partition("=")
    return (name, path) if equals else (None, text)


def _value(text: str) -> Any:
    """Return what a text is in JSON; a text that is none stands for itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def named(
    texts: list[str] | None, option: str, *, stem: bool = False, of: str = "FOLDER"
) -> dict[str, str]:
    """Read `NAME=WHERE`; where `stem` is set, `WHERE` alone is called by its file's name.

    Raises:
        InputError: one lacks its name or what it is (`of`), or there are two of a name.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, where = split(text)
        if name is None and stem:
            name = Path(where).stem
        if not name or not where:
            raise InputError(f"{option} has no name, or no value.", f"Give {option} NAME={of}.")
        if name in found:
            raise InputError(f"Two of {option} are called {name}.", "Give each a name of its own.")
        found[name] = where
    return found
