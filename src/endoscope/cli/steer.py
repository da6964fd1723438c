"""`endoscope steer`: what adding a direction does, over layers and strengths."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endoscope.cli.typed import typed_command
from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.behaviours import Item
    from endoscope.directions import Direction
    from endoscope.engine import Model
    from endoscope.steer import Sweep

app = typer.Typer(help="Measure what steering does to a behaviour and to the text.")


@app.callback()
def steer() -> None:
    """Measure what steering does to a behaviour and to the text."""


@app.command("sweep")
def sweep(
    model: Annotated[str, typer.Option(help="Embedded model, folder, .gguf file or hub id.")],
    behaviour: Annotated[
        str, typer.Option(help="One that comes with Endoscope, such as `sea`, or a YAML file.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the figures; work that was cut off goes on there."
        ),
    ],
    direction: Annotated[
        list[Path] | None,
        typer.Option(help="A direction that `direction fit` made (repeat for several sites)."),
    ] = None,
    fit: Annotated[
        Path | None,
        typer.Option(help="Or material to fit one at each layer: what `direction fit` takes."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="With `--fit`: such as `8,12,16`; at 40, 50 and 60% of the depth if left out."
        ),
    ] = None,
    site: Annotated[
        str, typer.Option(help="With `--fit`: the kind of site, such as `attn_out`.")
    ] = "resid_post",
    method: Annotated[
        str, typer.Option(help="With `--fit`: `mean`, `logistic` or `pca`.")
    ] = "mean",
    tokens: Annotated[
        str, typer.Option(help="With `--fit`: tokens of a text that count: `mean`, `last`, `all`.")
    ] = "mean",
    positive: Annotated[
        str | None, typer.Option(help="With `--fit`: the label that the direction is towards.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="The behaviour's file is no spec but one that `behaviours measure --as` reads.",
        ),
    ] = None,
    strengths: Annotated[
        str, typer.Option(help="In typical norms of the site.")
    ] = "0.1,0.15,0.2,0.25",
    positions: Annotated[
        str, typer.Option(help="Where it is added: `all`, `prompt` or `generated`.")
    ] = "all",
    choose_on: Annotated[
        Path | None,
        typer.Option(
            help="Items (JSON lines) to choose layer and strength on, so that all of the "
            "behaviour's are held out; else a random half of the behaviour's."
        ),
    ] = None,
    most: Annotated[
        int, typer.Option(min=1, help="Prompts to choose on, and held out, at most.")
    ] = 32,
    instruction: Annotated[
        str | None,
        typer.Option(help="What asks for the behaviour, as a system prompt; else its description."),
    ] = None,
    random: Annotated[int, typer.Option(min=1, help="How many random directions.")] = 4,
    rise: Annotated[
        float, typer.Option(min=0.001, help="The least rise of the score that is of use.")
    ] = 0.3,
    adapter: Annotated[
        str | None, typer.Option(help="Folder with a PEFT adapter to put on it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="`auto`, `fast`, `float32`, `bfloat16` or `float16`.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what sweep.json holds, for machines.")
    ] = False,
) -> None:
    """Add a direction at every layer and strength, and measure the behaviour and the text.

    Beside it stand the plain model, the model with an instruction alone, and random directions of
    the same norm. Of use is a strength at which the score has risen enough while perplexity under
    the plain model is at most 2 times, and the share of repeated 4-grams at most 1.5 times, the
    plain text's. The best one is measured again on held-out prompts.

    The folder gets `sweep.json`, `sweep.png`, `sweep.svg`, `cells.jsonl` (every text) and, under
    `directions/`, the directions with this evidence on their cards. Exits with 1 if the best
    strength is not of use on the held-out prompts.

    Example: `endoscope steer sweep --model smollm2-135m-instruct --fit sea.pairs.jsonl
    --behaviour sea --layers 12,14 --strengths 0.15,0.2 -o sea-sweep`
    """
    if (direction is None) == (fit is None):
        raise InputError(
            "A sweep needs directions.", "Give --direction FOLDER, or --fit with what to fit on."
        )
    numbers = _numbers(strengths, "strengths")
    from endoscope.behaviours import Behaviour, read_format
    from endoscope.engine import open
    from endoscope.steer import Limits
    from endoscope.steer import sweep as measure_sweep

    measured = read_format(behaviour, form, None) if form else Behaviour.load(behaviour)
    choosing = _items(choose_on)
    opened = open(model, adapter=adapter, device=device, dtype=dtype)
    if fit is not None:
        directions = _fitted(
            opened, fit, _sites(opened, layers, site), method, tokens, positive, seed
        )
    else:
        directions = _loaded(direction or [], layers)
    found = measure_sweep(
        opened,
        directions,
        measured,
        strengths=numbers,
        positions=_positions(positions),
        choosing=choosing,
        most=most,
        instruction=instruction,
        random=random,
        limits=Limits(rise=rise),
        folder=output,
        seed=seed,
        command=typed_command(),
        progress=not as_json,
    )
    _save(found, directions, output)
    print(found.model_dump_json() if as_json else f"{found!r}\nSaved to {output}.")
    if not found.confirmed:
        raise typer.Exit(1)


def _save(found: "Sweep", directions: "Sequence[Direction]", output: Path) -> None:
    from endoscope.steer.evidence import with_steering
    from endoscope.steer.picture import draw

    found.save(output)
    for one in directions:
        with_steering(one, found).save(output / "directions" / str(one.site))
    try:
        draw(found, output)
    except InputError as error:  # the figures are there; a picture can be drawn from them later
        print(f"endoscope: {error}", file=sys.stderr)


def _fitted(
    model: "Model",
    material: Path,
    sites: Sequence[str],
    method: str,
    tokens: str,
    positive: str | None,
    seed: int,
) -> "list[Direction]":
    from endoscope.directions import Direction, read_source

    source = read_source(material, tokens=tokens, positive=positive)
    return Direction.fit_at(model, source, sites, method=method, seed=seed)


def _loaded(folders: Sequence[Path], layers: str | None) -> "list[Direction]":
    from endoscope.directions import Direction

    if layers is not None:
        raise InputError(
            "A saved direction has its own layer.", "Leave --layers out, or give --fit."
        )
    return [Direction.load(folder) for folder in folders]


def _sites(model: "Model", layers: str | None, kind: str) -> list[str]:
    if layers is None:
        numbers = sorted({round(share * (model.n_layers - 1)) for share in (0.4, 0.5, 0.6)})
    else:
        numbers = [int(number) for number in _numbers(layers, "layers")]
    return [f"{kind}.{number}" for number in numbers]


def _numbers(text: str, what: str) -> list[float]:
    try:
        return [float(part) if what == "strengths" else int(part) for part in text.split(",")]
    except ValueError:
        example = "0.1,0.2" if what == "strengths" else "8,12,16"
        raise InputError(f"These {what} are no numbers.", f"Write them as {example}.") from None


def _positions(text: str) -> Any:
    if text not in ("all", "prompt", "generated"):
        raise InputError("These are no positions.", "Give all, prompt or generated.")
    return text


def _items(path: Path | None) -> "list[Item] | None":
    if path is None:
        return None
    from pydantic import ValidationError

    from endoscope.behaviours import Item
    from endoscope.behaviours.behaviour import read_items

    try:
        return [
            Item.model_validate({"id": str(i), **row}) for i, row in enumerate(read_items(path))
        ]
    except ValidationError:
        raise InputError(f"{path.name}: a line is no item.", 'Give {"id", "prompt"}.') from None
