"""`endoscope bench`: measure against limits and other programs, as ratios."""

import json
import sys
from pathlib import Path
from shlex import join
from typing import Annotated, Any

import typer


def bench(
    name: Annotated[str, typer.Argument(help="`capture`, `diff`, `edit`, `guard` or `serve`.")],
    against: Annotated[
        list[str] | None,
        typer.Option(help="Compare with this one only (repeat for several). Else all installed."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="capture, serve: a model (repeat for several).")
    ] = None,
    probe: Annotated[
        list[Path] | None, typer.Option(help="guard: a probe's folder (repeat for several).")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="guard: labelled JSON lines to read; F1 is reported too. diff, edit: organisms."
        ),
    ] = None,
    documents: Annotated[
        int, typer.Option(min=1, help="guard: read at most this many documents of the data.")
    ] = 200,
    engine: Annotated[
        str, typer.Option(help="serve: `transformers`, or `vllm` against plain vLLM and plugins.")
    ] = "transformers",
    method: Annotated[
        list[str] | None, typer.Option(help="edit: a method (repeat for several). Else all.")
    ] = None,
    trials: Annotated[
        int, typer.Option(min=3, help="edit: of the search for an ablation, on either side.")
    ] = 12,
    pairs: Annotated[int, typer.Option(min=1, help="Repetitions of each side.")] = 8,
    save: Annotated[
        Path | None, typer.Option(help="Also write the rows to this file, with the machine.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, for machines.")
    ] = False,
) -> None:
    """Measure Endoscope against limits and other programs, in one run, as ratios.

    Ratios are made so that higher is better and 1.0 is equal; the two sides take turns, and the
    interval is the bootstrap 95% one. `self` is Endoscope against itself: the noise. The other
    programs need `make peers`. Exits with 1 if a comparison could not be made.

    Example: `endoscope bench capture --against limit --against nnsight`
    """
    from endoscope.bench import BENCHES, ON_VLLM, Failure, Options
    from endoscope.bench import save as save_rows
    from endoscope.errors import InputError

    benches = {"transformers": BENCHES, "vllm": ON_VLLM}.get(engine)
    if benches is None:
        raise InputError(f"There is no engine {engine!r}.", "Choose `transformers` or `vllm`.")
    if name not in benches:
        raise InputError(f"There is no benchmark {name!r}.", f"Choose from: {', '.join(benches)}.")
    options = Options(
        models=model or (),
        against=against or (),
        pairs=pairs,
        probes=probe or (),
        data=data,
        documents=documents,
        methods=method or (),
        trials=trials,
        show=not as_json,
    )
    rows = []
    for row in benches[name](options):
        rows.append(row)
        if as_json:
            print(json.dumps(row.as_json(), ensure_ascii=False), flush=True)
    if not as_json:
        _print_table([row.as_json() for row in rows])
    if save is not None:
        save_rows(save, rows, options.versions, _command())
    if any(isinstance(row, Failure) for row in rows):
        raise typer.Exit(1)


def _command() -> str:
    """Return the command as typed, without what it saved to and without where other things lie."""
    words = sys.argv[1:]
    if "--save" in words:
        at = words.index("--save")
        words = words[:at] + words[at + 2 :]
    return join(["endoscope", *(_shown(word) for word in words if not word.startswith("--save="))])


def _shown(word: str) -> str:
    """A path below the present folder as seen from there, another by its name alone."""
    if "/" not in word:
        return word
    path, here = Path(word).absolute(), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from endoscope.bench.results import figure

    table = Table("case", "against", "ours", "theirs", "unit", "ratio", "95% interval")
    for row in rows:
        if "error" in row:
            table.add_row(row["case"], row["against"], f"[red]{row['error']}")
            continue
        better = "green" if row["low"] > 1 else "red" if row["high"] < 1 else "yellow"
        table.add_row(
            row["case"],
            row["against"],
            figure(row["ours"]),
            figure(row["theirs"]),
            row["unit"],
            f"[{better}]{row['ratio']:.2f}",
            f"{row['low']:.2f} – {row['high']:.2f}",
        )
    Console().print(table)
