"""Tasks of EleutherAI's lm-evaluation-harness, for those who have their data."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from endoscope.engine import Model
from endoscope.errors import InputError

RESAMPLES = 1000  # for the standard errors of what has no formula, such as perplexity


def harness(
    model: Model,
    tasks: Sequence[str | Path | Mapping[str, Any]],
    limit: int | None = None,
    *,
    chat: bool = False,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """Run tasks of lm-evaluation-harness on a model, as it is now.

    The harness brings what its tasks ask, and fetches their data where it is not in its cache.

    Args:
        model: with its interventions, within `model.intervene(...)`.
        tasks: names that the harness knows; or YAML files of tasks; or what stands in such a file.
        limit: run so many of the first documents of each task; None: all.
        chat: put prompts through the model's chat template.
        progress: show a bar.

    Returns:
        For each task, and each group of tasks, its metrics and their standard errors: `acc`,
        `acc_stderr`. Those of a filter are named with it: `exact_match,strict-match`.

    Raises:
        InputError: the harness is not installed, there is no such task, or the model cannot run it.

    Example:
        >>> harness(model, ["arc_easy", "lambada_openai"], limit=100)["arc_easy"]["acc"]
    """
    known = _known_tasks()
    from lm_eval import simple_evaluate

    from endoscope.edit.verify.harness_model import HarnessModel

    for task in tasks:
        _check(task, known.all_tasks)
    found = simple_evaluate(
        model=HarnessModel(model, progress=progress),
        tasks=[dict(task) if isinstance(task, Mapping) else str(task) for task in tasks],
        limit=limit,
        apply_chat_template=chat,
        bootstrap_iters=RESAMPLES,
        log_samples=False,
        task_manager=known,
    )
    rows = {**found["results"], **found.get("groups", {})}
    return {name: _metrics(row) for name, row in rows.items()}


@cache
def _known_tasks() -> Any:
    """Return the tasks that the harness knows; it looks through thousands of files for them."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise InputError(
            "Its tasks need lm-evaluation-harness.", "Run: pip install 'endoscope[harness]'"
        ) from error
    return TaskManager()


def _check(task: str | Path | Mapping[str, Any], known: Sequence[str]) -> None:
    if not (isinstance(task, Mapping) or str(task) in known or Path(task).is_file()):
        raise InputError(
            f"There is no task {task}.",
            "Give a name of those that `lm_eval ls tasks` prints, or a YAML file.",
        )


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a task by name; beside them the harness keeps words."""
    return {
        name.removesuffix(",none"): float(value)
        for name, value in row.items()
        if "," in name and isinstance(value, int | float)
    }
