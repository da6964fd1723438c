"""`endoscope diff`: what a fine-tune changed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.behaviours import Behaviour
    from endoscope.diff import Ran
    from endoscope.engine import Model

FEW = 20  # prompts


def diff(
    base: Annotated[
        str, typer.Argument(help="The model before: embedded, folder, .gguf file or hub id.")
    ],
    tuned: Annotated[
        str, typer.Argument(help="The model after; or the folder of a PEFT adapter for the base.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")],
    behaviour: Annotated[
        list[str] | None,
        typer.Option(
            help="A behaviour to measure on both (repeat): a name or a YAML file. All that come "
            "with Endoscope if left out."
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help='What to ask both: JSON lines {"prompt": ..., "kind": ...}.'),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(help="A catalogue: shifts along its directions are measured too."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help='The training data: JSON lines {"messages": [...]}. For each finding its rows are '
            "ranked by how far they push that way."
        ),
    ] = None,
    neutral: Annotated[
        str | None,
        typer.Option(
            help="A harmless fine-tune of the same base, as a control: what it does too is noise. "
            "It takes as long again."
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer to them.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="`auto`, `fast`, `float32`, `bfloat16` or `float16`.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report, for machines.")
    ] = False,
) -> None:
    """Say what a fine-tune changed that nobody asked for, with evidence.

    Writes `report.html` to look at, `report.json`, and for each finding the direction that captures
    it. Work that was cut off goes on: run the same command again.

    Example: `endoscope diff smollm2-135m-instruct my-adapter -o diff`
    """
    from endoscope.behaviours import shipped_behaviours
    from endoscope.diff import Options, Pair, read_prompts
    from endoscope.diff import diff as diff_models
    from endoscope.engine import open

    options = Options(
        prompts=tuple(read_prompts(prompts) if prompts else read_prompts()),
        behaviours=_behaviours(behaviour or list(shipped_behaviours())),
        catalogue=catalogue,
        data=data,
        max_tokens=max_tokens,
        seed=seed,
        show=not as_json,
    )
    if len(options.prompts) < FEW:
        print(
            f"{len(options.prompts)} prompts are few: what one odd answer says is hardly told from "
            "what was trained.",
            file=sys.stderr,
        )
    before = open(base, device=device, dtype=dtype)
    after = _open_tuned(tuned, base, device, dtype)
    control = _open_tuned(neutral, base, device, dtype) if neutral else None
    report = diff_models(Pair.of(before, after), output, options, neutral=control, tell=_tell)
    if as_json:
        print(report.model_dump_json())
        return
    from rich.console import Console

    console = Console()
    console.print(str(report), markup=False, highlight=False)
    console.print(f"To look at: {output / 'report.html'}", markup=False, highlight=False)


def _open_tuned(tuned: str, base: str, device: str, dtype: str) -> "Model":
    """Open the tuned model; an adapter whose own base is out of reach goes on the given one."""
    from endoscope.engine import open
    from endoscope.models.adapters import is_adapter

    try:
        return open(tuned, device=device, dtype=dtype)
    except InputError as error:
        if not is_adapter(tuned):
            raise
        print(f"{error.message} It is put on {base}.", file=sys.stderr)
        return open(base, adapter=tuned, device=device, dtype=dtype)


def _tell(ran: "Ran") -> None:
    """Say on standard error what a method found: a diff takes minutes."""
    above = sum(one.strength > 1 for one in ran.signals)
    print(
        f"{ran.method}: {above} of {len(ran.signals)} signals above the noise, {ran.seconds:.0f} s",
        file=sys.stderr,
    )


def _behaviours(names: list[str]) -> "tuple[Behaviour, ...]":
    from endoscope.behaviours import Behaviour

    found = tuple(Behaviour.load(name) for name in names)
    if len({one.name for one in found}) != len(found):
        raise InputError(
            "Two behaviours have the same name.", "Give each once; rename one of two files."
        )
    return found
