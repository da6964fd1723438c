"""Trying edits while one is searched for; what was measured is kept, so that a search goes on."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch

from endoscope.behaviours import measure
from endoscope.edit.inputs import batches, openings
from endoscope.edit.parts import Parts, running
from endoscope.edit.task import Task
from endoscope.edit.trying import Divergences, Floats, predictions
from endoscope.engine import Model

SEEN = 0.15  # of answers: what rose by less is not seen to go


class Trials:
    """Measures edits on what a task has to search by.

    Args:
        task: what is to be removed.
        parts: gives the edit of some settings.
        budget: how far what is kept may move, in nats a token, KL(before || after).
        gone: the share of what rose that may be left where it counts as gone.
        file: where what was measured is kept, one trial a line.
    """

    def __init__(
        self,
        task: Task,
        parts: Callable[[Mapping[str, float]], Parts],
        *,
        budget: float,
        gone: float,
        file: Path,
    ) -> None:
        self.budget = budget
        self.gone = gone
        self._task = task
        self._parts = parts
        self._file = file
        self._known = _kept(file)
        self._divergences = Divergences(task.model, task.held_out.kept)

    def moved(self, settings: Mapping[str, float]) -> float:
        """Return how far an edit moves what is kept: the mean KL in nats a token."""
        return self._once("KL", settings, lambda: float(self.movements(settings).mean()))

    def movements(self, settings: Mapping[str, float]) -> Floats:
        """Return how far an edit moves each passage that is kept, `[passages]`."""
        return self._divergences(partial(running, self._task.model, self._parts(settings)))

    def begins(self, settings: Mapping[str, float]) -> float:
        """Return how probable it is that the model begins it, where it began it before."""
        model = self._task.model
        return self._once(
            "begins", settings, lambda: self._begins(running(model, self._parts(settings)))
        )

    def left(self, settings: Mapping[str, float]) -> float:
        """Return the share of what rose over the base that an edit leaves.

        It is counted in answers; where hardly any shows it, by how probable its beginning is.
        """
        return self._once("share left", settings, lambda: self._left(settings))

    def is_gone(self, settings: Mapping[str, float]) -> bool:
        """Whether an edit leaves so little that it counts as gone."""
        return self.left(settings) <= self.gone

    def _once(self, what: str, settings: Mapping[str, float], find: Callable[[], float]) -> float:
        key = f"{what} {json.dumps(dict(sorted(settings.items())))}"
        if key not in self._known:
            self._known[key] = find()
            if self._task.show:
                told = ", ".join(f"{name} {number:g}" for name, number in settings.items())
                print(f"{told or 'no edit'}: {what} {self._known[key]:.3g}", file=sys.stderr)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({key: self._known[key]}) + "\n")
        return self._known[key]

    def _left(self, settings: Mapping[str, float]) -> float:
        task = self._task
        if task.seen is None:
            return self._left_of_beginning(settings)
        level = 0.0 if task.base is None else self._shows("base", task.base)
        rise = self._shows("model", task.model) - level
        if rise < SEEN:
            return self._left_of_beginning(settings)
        with running(task.model, self._parts(settings)) as model:
            return (measure(model, task.seen).mean.value - level) / rise

    def _left_of_beginning(self, settings: Mapping[str, float]) -> float:
        """Return what is left of how probable it is that the model begins it."""
        task = self._task
        level = 0.0
        if task.base is not None:
            base = task.base
            level = self._once("begins in the base", {}, lambda: self._begins(nullcontext(base)))
        model = task.model
        now = self._once("begins in the model", {}, lambda: self._begins(nullcontext(model)))
        return (self.begins(settings) - level) / (now - level) if now > level else 0.0

    def _shows(self, who: str, model: Model) -> float:
        """Return how much of it a model shows that is not edited."""
        seen = self._task.seen
        assert seen is not None
        return self._once(f"shows in the {who}", {}, lambda: measure(model, seen).mean.value)

    @torch.no_grad()
    def _begins(self, run: AbstractContextManager[Model]) -> float:
        task = self._task
        first = [one.opening for one in task.held_out.shown]
        words = sorted(set(openings(task.model, [*task.fit.acting, *task.held_out.shown])))
        found = []
        with run as model:
            for batch in batches(model, first):
                found.append(predictions(model, batch).exp()[:, words].sum(-1))
        return float(torch.cat(found).mean())


def _kept(file: Path) -> dict[str, float]:
    """Return what was measured before; mend a file whose last line was cut off."""
    known: dict[str, float] = {}
    if file.is_file():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):
            file.write_text("".join(whole), encoding="utf-8")
        for line in whole:
            known.update(json.loads(line))
    return known
