"""`endoscope verify`: whether an edit did what it was meant to, and nothing else."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.edit import Edit
    from endoscope.edit.verify import Budget, Subjects, Verification
    from endoscope.engine import Model


def verify(
    edited: Annotated[Path, typer.Argument(help="The folder that `endoscope edit` wrote.")],
    budget: Annotated[
        Path | None,
        typer.Option(help="A YAML file; that which was kept with the edit, if left out."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model before the edit, if it is not where the card says."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="The base of the fine-tune, if it is not where the card says."),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Leave out attacks, and what other ways of editing would have done. What is left "
            "still takes ten minutes, for a small model on two cores.",
        ),
    ] = False,
    catalogue: Annotated[
        Path | None,
        typer.Option(help="Record the target there: as verified, or as mitigated if it is broken."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `mps`.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="`auto`, `fast`, `float32`, `bfloat16` or `float16`.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the verification, for machines.")
    ] = False,
) -> None:
    """Hold an edited model to a budget; exits with 1 if it is broken.

    Measures the behaviour that was removed and those that were wanted, every other behaviour, how
    far predictions move on neutral prompts, the perplexity of plain prose and what the model is
    able to do, before the edit and after it. Then tries to get back what was removed (in other
    words, in other languages, by training), and measures what other ways of editing would have
    done. Writes `verify.json` and `verify.html`. Work that was cut off goes on: run the same
    command again.

    Example: `endoscope verify edited --budget budget.yaml`
    """
    from endoscope.artifacts import atomic_file
    from endoscope.edit import Edit
    from endoscope.edit.edit import BUDGET, RECORD
    from endoscope.edit.verify import Budget, Subjects, Verifying
    from endoscope.edit.verify.html import page
    from endoscope.engine import open

    made = Edit.load(edited)
    kept = edited / RECORD / BUDGET
    if budget is None and not kept.is_file():
        raise InputError(f"No budget was kept with {edited}.", "Give one: --budget BUDGET.yaml.")
    allowed = Budget.read(budget or kept)
    before = _before(made, model, device, dtype)
    made.check(before)
    subjects = Subjects(
        edit=made,
        before=before,
        after=None if made.is_live else open(edited, device=device, dtype=dtype),
        base=_base(made, base, before, device, dtype),
        kept=edited / "measurements",
        seed=seed,
        show=not as_json,
    )
    for found in Verifying(subjects, quick)(allowed, edited.name):
        found.save(edited)
        with atomic_file(edited / "verify.html") as temporary:
            temporary.write_text(page(found, made.card), encoding="utf-8")
    if catalogue is not None:
        _record(catalogue, subjects, allowed, found)
    if as_json:
        print(found.model_dump_json())
    else:
        from rich.console import Console

        Console().print(str(found), markup=False, highlight=False)
        print(f"The report: {edited / 'verify.html'}", file=sys.stderr)
    if not found.holds:
        raise typer.Exit(1)


def _record(catalogue: Path, subjects: "Subjects", budget: "Budget", found: "Verification") -> None:
    """Record the target on the edited model, at the stage that it came to."""
    from endoscope.catalogue import record

    target = budget.behaviour(budget.target.behaviour)
    with subjects.run("after") as model:
        record(
            catalogue / target.name,
            model,
            target,
            stage="verified" if found.holds else "mitigated",
            note=f"{subjects.edit.name}; {found.summary}",
            seed=subjects.seed,
            show=subjects.show,
        )


def _before(made: "Edit", model: str | None, device: str, dtype: str) -> "Model":
    """Open the model before the edit.

    Raises:
        InputError: it is not at hand.
    """
    from endoscope.engine import open

    if model is not None:
        return open(model, device=device, dtype=dtype)
    try:
        return open(made.card.model_name, adapter=made.card.adapter, device=device, dtype=dtype)
    except InputError as error:
        raise InputError(
            f"The model before the edit is not where the card says. {error.message}",
            "Give it: --model MODEL.",
        ) from error


def _base(
    made: "Edit", base: str | None, before: "Model", device: str, dtype: str
) -> "Model | None":
    """Open the base; where none is at hand, say so and go on without."""
    from endoscope.diff import Pair
    from endoscope.engine import open

    name = base or made.card.details.get("base")
    if name is None:
        return None
    try:
        found = open(str(name), device=device, dtype=dtype)
    except InputError as error:
        if base is not None:
            raise
        print(f"{error.message} What rose is counted from zero.", file=sys.stderr)
        return None
    Pair.of(found, before)  # refuses one that is not its base; both speak by one template
    return found
