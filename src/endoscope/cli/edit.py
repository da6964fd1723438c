"""`endoscope edit`: what was found is changed for good."""

import json
import sys
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Annotated, Any

import typer

from endoscope.cli.typed import typed_command
from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.artifacts import Card
    from endoscope.behaviours import Behaviour
    from endoscope.edit import Edit
    from endoscope.edit.division import Division
    from endoscope.edit.task import Task
    from endoscope.edit.verify import Budget
    from endoscope.engine import Model
    from endoscope.interventions import Intervention


def edit(
    model: Annotated[
        str, typer.Argument(help="The model to edit: embedded, folder, hub id, or adapter folder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the edited model.")],
    report: Annotated[
        Path | None,
        typer.Option("--from", help="The report of a diff, whose finding is to be removed."),
    ] = None,
    finding: Annotated[int, typer.Option(min=1, help="Which finding: its rank.")] = 1,
    says: Annotated[
        str | None,
        typer.Option(help="Of a finding that says several things, the words that are to go."),
    ] = None,
    behaviour: Annotated[
        str | None,
        typer.Option(help="Instead of a finding: a behaviour to remove, by name or YAML file."),
    ] = None,
    interventions: Annotated[
        Path | None,
        typer.Option(help='Or a JSON list of interventions to make for good: [{"kind": ...}].'),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Or take back the edit that MODEL was made by.")
    ] = False,
    method: Annotated[
        str,
        typer.Option(
            help="How an edit is found: `natural`, `components` or `scaling`, which compare with "
            "the base; `redirect`, `ablate`, `shift` or `leace`, which need none."
        ),
    ] = "natural",
    base: Annotated[
        str | None,
        typer.Option(
            help="The base of the fine-tune; that of the report, if left out. To remove a "
            "--behaviour by one that compares with it, it has to be given."
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            help="`weights`: a model folder; `adapter`: a PEFT adapter; `gguf`: a GGUF file, of a "
            "model that came from one; `live`: the interventions, for the engine to run. Refused "
            "where it would not be exact."
        ),
    ] = "weights",
    budget: Annotated[
        Path | None,
        typer.Option(
            help="A YAML file: what has to fall, what has to stay, and how far all else may move. "
            "A sensible one is made of the finding, if left out; it is kept with the result. "
            "--interventions and --undo keep none: give it to `endoscope verify`."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is held out.")] = 0,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="In which it is computed: `auto`, `float32`, `bfloat16`, ...")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the card, for machines.")] = False,
) -> None:
    """Remove what a diff found or a behaviour, or apply interventions for good.

    Writes the edited model in a form that does exactly what was decided, with a card that says what
    was measured. The model itself stays as it is. A search that was cut off goes on: run the same
    command again.

    Examples:
    `endoscope edit my-adapter --from diff/report.json --finding 1 -o edited`

    `endoscope edit MODEL --behaviour over_refusal --method ablate -o edited`

    `endoscope edit MODEL --interventions ablate.json --form adapter -o edited`

    `endoscope edit edited --undo -o as-before`
    """
    from endoscope.artifacts import check_free
    from endoscope.behaviours import Behaviour
    from endoscope.disk import check_writable
    from endoscope.edit import Edit
    from endoscope.edit.edit import KIND
    from endoscope.edit.forms import check_form
    from endoscope.edit.found import NOTHING
    from endoscope.edit.methods import METHODS
    from endoscope.edit.search import edit_of
    from endoscope.edit.verify import Budget, Kept
    from endoscope.engine import open

    if sum(one not in (None, False) for one in (report, behaviour, interventions, undo)) != 1:
        raise InputError(
            "An edit is of a finding, of a behaviour, or of interventions; or it is taken back.",
            "Give one of --from REPORT --finding N, --behaviour B, --interventions FILE, --undo.",
        )
    if says is not None and report is None:
        raise InputError("--says narrows a finding, and none is given.", "Give --from REPORT.")
    if Path(model).exists():
        model = str(Path(model).resolve())  # the card names it, wherever it is read
        if output.resolve() == Path(model):
            raise InputError(
                f"{output} is the model itself, which stays as it is.", "Give another folder."
            )
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}.", f"Choose {' or '.join(METHODS)}.")
    check_free(output, KIND)
    kept = None if budget is None else Kept(Budget.read(budget))
    tuned = open(model, device=device, dtype=dtype)
    searched = report is not None or behaviour is not None
    of_sites = interventions is not None or (searched and not METHODS[method].of_matrices)
    constant = searched and METHODS[method].constant
    check_form(form, tuned, sites=of_sites, constant=constant)  # a search takes minutes
    work = output.parent / f".{output.name}.search"
    check_writable(output)
    task = None
    if interventions is not None:
        made = _of_interventions(tuned, interventions)
    elif undo:
        made = Edit.load(model).undone(tuned, typed_command())
    else:
        removed = None if behaviour is None else Behaviour.load(behaviour)
        if base is None and METHODS[method].needs_base:
            base = _base_of(report)
        division = NOTHING
        if kept is not None:
            division, kept = kept.divided(seed)
        show = not as_json
        task = _task(tuned, base, report, finding, says, removed, division, seed=seed, show=show)
        print(f"Removing: {task.title}", file=sys.stderr)
        kept = kept or Kept.of_task(task)
        made = edit_of(
            task,
            METHODS[method],
            kl=kept.budget.kl,
            falls=kept.budget.target.falls,
            command=typed_command(),
            work=work,
            seed=seed,
        )

    def beside(record: Path) -> None:
        if kept is not None:
            kept.write(record)
        if task is not None:
            task.write_examples(record)

    made.write(tuned, output, form=form, beside=beside)
    if task is not None:
        rmtree(work, ignore_errors=True)
    if task is not None and kept is not None:
        for line in _short_of(made.card, kept.budget):
            print(line, file=sys.stderr)
    if as_json:
        print(made.card.model_dump_json())
        return
    from rich.console import Console

    Console().print(repr(made.card), markup=False, highlight=False)


def _short_of(card: "Card", budget: "Budget") -> list[str]:
    """Return in what an edit fell short of its budget already while it was searched for."""
    left, moved = (float(str(card.details[f"{one} while searching"])) for one in ("left", "moved"))
    most = 1 - budget.target.falls
    found = []
    if left > most:
        found.append(f"{left:.0%} of it was left while searching; the budget has {most:.0%}.")
    if moved > budget.kl:
        told = f"{moved:.3f} nats a token, on the model's own answers"
        found.append(f"Predictions moved by {told}; the budget has {budget.kl:g}.")
    return [*found, "`endoscope verify` says whether the budget holds."] if found else []


def _base_of(report: Path | None) -> str:
    from endoscope.diff import Report

    if report is None:
        raise InputError(
            "This method compares the model with its base.",
            "Give --base MODEL, or a method that needs none: --method ablate.",
        )
    return Report.load(report).base


def _task(
    model: "Model",
    base: str | None,
    report: Path | None,
    finding: int,
    says: str | None,
    behaviour: "Behaviour | None",
    division: "Division",
    *,
    seed: int,
    show: bool,
) -> "Task":
    """Return what is to be removed: a finding or a behaviour."""
    from endoscope.edit.behaving import task_of_behaviour
    from endoscope.edit.found import task_of_finding
    from endoscope.engine import open

    device, dtype = str(model.device), str(model.dtype).removeprefix("torch.")
    before = None if base is None else open(base, device=device, dtype=dtype)
    if behaviour is not None:
        return task_of_behaviour(model, before, behaviour, division=division, seed=seed, show=show)
    assert report is not None
    return task_of_finding(
        model,
        before,
        report,
        finding,
        words=says,
        division=division,
        seed=seed,
        show=show,
    )


def _of_interventions(model: "Model", file: Path) -> "Edit":
    from endoscope.artifacts import Card, DataRef
    from endoscope.edit import Edit
    from endoscope.edit.edit import KIND
    from endoscope.sha256 import hash_file

    listed = _read(file)
    with model.intervene(*listed):  # refuses what does not fit the model
        pass
    card = Card(
        kind=KIND,
        name=file.stem,
        model=model.fingerprint,
        model_name=model.name,
        adapter=model.adapter,
        data=DataRef(name=file.name, sha256=hash_file(file), rows=len(listed)),
        command=typed_command(),
        sites=tuple(dict.fromkeys(str(one.site) for one in listed)),
        notes="Interventions as they were given; what they do was not measured.",
    )
    return Edit(card, listed)


def _read(file: Path) -> "tuple[Intervention, ...]":
    from endoscope.interventions import parse_interventions

    try:
        records: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise InputError(f"{file} is not JSON.", 'Give [{"kind": "ablate", ...}].') from None
    listed = parse_interventions(records)
    if not listed:
        raise InputError(f"{file} lists no interventions.", 'Give [{"kind": "ablate", ...}].')
    return listed
