"""A progress bar for long work, shown only where a person is looking."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(description: str, total: int, *, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a bar by so many units.

    The bar is drawn on standard error, and only if standard output and standard error are both
    terminals: a pipe or a log never gets control characters.
    """
    if not (show and sys.stdout.isatty() and sys.stderr.isatty()):
        yield lambda amount: None
        return

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.advance(task, amount)
