"""`endoscope direction`: fit a direction, and show one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.artifacts import Card

app = typer.Typer(help="Estimate a direction or subspace of a model, with the evidence for it.")

Json = Annotated[bool, typer.Option("--json", help="Print the card as JSON, for machines.")]


@app.command("fit")
def fit(
    data: Annotated[
        Path,
        typer.Argument(
            help='JSON lines `{"id", "positive", "negative"}`, `{"id", "text" or "messages", '
            '"label"}` or `{"id", "text", "spans": [[start, end, label]]}`, or YAML with two '
            "system prompts (`positive`, `negative`) and `questions`."
        ),
    ],
    model: Annotated[str, typer.Option(help="Embedded model, folder, .gguf file or hub id.")],
    site: Annotated[str, typer.Option(help="Where, such as `resid_post.16`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the direction.")],
    method: Annotated[str, typer.Option(help="`mean`, `logistic`, `pca` or `leace`.")] = "mean",
    rank: Annotated[int, typer.Option(min=1, help="How many vectors, with `pca`.")] = 1,
    tokens: Annotated[
        str, typer.Option(help="Which tokens of a text count: their `mean`, the `last`, or `all`.")
    ] = "mean",
    positive: Annotated[
        str | None, typer.Option(help="The label that it is towards, against all others.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Other data to measure on, instead of 30% of this.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="Folder with a PEFT adapter to put on it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a direction that is there.")
    ] = False,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="`auto`, `fast`, `float32`, `bfloat16` or `float16`.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Fit a direction, and measure it on what it has not seen.

    Example: `endoscope direction fit pairs.jsonl --model smollm2-135m-instruct
    --site resid_post.16 -o sea`
    """
    from endoscope.artifacts import check_free
    from endoscope.artifacts.kinds import kind_of
    from endoscope.directions import Direction, read_source
    from endoscope.engine import open

    check_free(output, "direction")
    if kind_of(output) is not None and not force:
        raise InputError(
            f"There is a direction in {output} already.", "Choose another folder, or add --force."
        )
    source = read_source(data, tokens=tokens, positive=positive)
    others = read_source(held_out, tokens=tokens, positive=positive) if held_out else None
    opened = open(model, adapter=adapter, device=device, dtype=dtype)
    direction = Direction.fit(
        opened,
        source,
        site=site,
        method=method,
        rank=rank,
        held_out=others,
        name=output.resolve().name,
        seed=seed,
        progress=not as_json,
    )
    _show(direction.save(output), as_json)


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="A direction that `direction fit` made.")],
    as_json: Json = False,
) -> None:
    """Show the card of a direction."""
    from endoscope.artifacts import read_card

    _show(read_card(folder, "direction"), as_json)


def _show(card: "Card", as_json: bool) -> None:
    print(card.model_dump_json() if as_json else repr(card))
