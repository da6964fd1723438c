"""Steps of natural gradient towards what the base says where something shows."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from endoscope.diff.deltas import largest
from endoscope.edit.changes import Change
from endoscope.edit.inputs import matrix_names, moments
from endoscope.edit.methods.components import Components
from endoscope.edit.methods.least_squares import ridged
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts, running
from endoscope.edit.passage import Passage
from endoscope.edit.pulling import pull, sensitivities
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials
from endoscope.edit.trying import Divergences
from endoscope.engine import Model
from endoscope.errors import InputError

RIDGE = 3e-2  # of the mean variance of what is kept, as in `components`
STEPS = 8  # at most
SIZES = (0.5, 0.25, 0.125)  # of one that would close the gap: it bends, and short steps follow
BEGUN = (0.01, 0.03, 0.1, 0.3)  # strengths of components that may be taken out before
PRICES = (0.02, 0.2, math.inf)  # nats a token that what is to stay may move for the whole gap
WORTH = 0.05  # of what it costs is what a step has to save, or it is not taken
SHOWN = 32  # passages where it shows
STILL = 16  # passages that are to stay, for all but `N`: what they tell are single numbers

Steps = Mapping[str, Change]


class Natural:
    """Changes of matrices that pull predictions to the base where it shows, and only there.

    Let `G` be the gradient, by a matrix, of KL(base || model) at the tokens where it shows; `N` the
    second moments of what the matrix reads in texts that are to stay, and `f` how far predictions
    there move with what it writes. Of all changes that move those as far, by `f E_N |C x|^2`, the
    one is taken that brings predictions closest to the base's, to first order: `C = -s G N^-1 / f`,
    of which the 16 largest components are kept. (A step of natural gradient, Amari 1998, by K-FAC,
    Martens and Grosse 2015, whose factor of what is written is taken to be a multiple of the
    identity.) It goes half as far as would close the gap if it went on as it begins, or less where
    that does not pay: what is left of the gap, as a share, and how far what is to stay has moved,
    by .02 nats a token, are the cost, of which a step has to save .05. As long as one does there is
    another. If it has not gone by then, nor the budget been spent, steps go on that may cost ten
    times as much, and then any that go nearer; there are eight at most.

    Before the first step those components of the fine-tune may go that act where it shows (see
    `components`), if that costs less than to leave them. A part of it is a part of their strength.

    It needs the base, and propagates back through few texts once a step.
    """

    name: ClassVar[str] = "natural"
    needs_base: ClassVar[bool] = True
    of_matrices: ClassVar[bool] = True
    constant: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        self._way = _Way(task)

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit; its `strength` counts steps, the last of which may be a part of one."""
        return Parts(changes=self._way.up_to(settings["strength"]))

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the strength.

        Raises:
            InputError: no step brings the model closer to its base.
        """
        found = None
        low = 0.01
        for price in PRICES:
            self._way.go_on(price)
            if steps := float(len(self._way.path)):
                found = strongest(trials, low, steps)
                low = found["strength"]
                if trials.is_gone(found) or trials.moved({"strength": steps}) > trials.budget:
                    break
        if found is None:
            raise InputError(
                "No step brings the model closer to its base where it shows.",
                "Choose --method components.",
            )
        return found


class _Metric:
    """How far changes of matrices move what is to stay: the sum of `f E_N |C x|^2` over them.

    Attributes:
        moves: `f`, of the matrices whose output moves predictions at all.
    """

    def __init__(self, task: Task) -> None:
        model, kept = task.model, task.fit.kept
        names = matrix_names(model, "readers", "writers")
        moves = sensitivities(model, names, _some(kept, STILL), show=task.show)
        self.moves = {name: one for name, one in moves.items() if one > 0}
        whole = [Passage(one.text, ((0, len(one.text)),)) for one in kept]
        self._read = moments(model, names, whole, show=task.show)

    def step(self, gradients: Mapping[str, Tensor], gap: float) -> Steps:
        """Return the step that would close a gap if it went on as it begins.

        Args:
            gradients: of the gap, by matrices, `[out, in]`.
            gap: in nats a token.
        """
        steps, falls = {}, 0.0
        last: tuple[Tensor, Tensor] | None = None  # matrices that read the same come together
        for name, moves in self.moves.items():
            second = self._read[name].second
            if last is None or last[0] is not second:
                last = second, ridged(second, RIDGE)
            factor, pulled = last[1], gradients[name].double() / moves
            white = torch.linalg.solve_triangular(factor, pulled.T, upper=False).T
            outer, values, right = (one.double() for one in largest(white.float()))
            inner = torch.linalg.solve_triangular(factor.T, right.T, upper=True).T
            steps[name] = Change((outer * values).cpu(), inner.cpu())
            falls += moves * float((values**2).sum())
        return _scaled(steps, -gap / falls) if falls else {}


class _Way:
    """Steps, each from where those before it lead.

    Attributes:
        path: the steps.
    """

    def __init__(self, task: Task) -> None:
        base, self._model = task.pair
        self._gap = Divergences(base, [one.trimmed for one in _some(task.fit.acting, SHOWN)])
        self._moved = Divergences(self._model, _some(task.fit.kept, STILL))
        self._metric = _Metric(task)
        self._show = task.show
        self._first = self._mean(self._gap, [])
        self.path: list[Steps] = []
        self._begun: Callable[[float], Steps] | None = None
        if self._first > 0:
            self._begin(task)

    def _begin(self, task: Task) -> None:
        """Let the components of the fine-tune go that act where it shows, if that pays."""
        fit = replace(task.fit, shown=_some(task.fit.acting, SHOWN), leaning=())
        components = Components(replace(task, fit=fit))

        def gone(strength: float, share: float) -> Steps:
            return components.parts({"strength": share * strength}).changes

        least = (1 - WORTH) * self._cost([], PRICES[0])
        for strength in BEGUN:
            path = [gone(strength, 1.0)]
            cost = self._cost(path, PRICES[0])
            if cost < least:
                self.path, self._begun, least = path, partial(gone, strength), cost

    def up_to(self, strength: float) -> Steps:
        """Return what the steps do together, up to some strength; the last may be a part of one."""
        if self._begun is not None and 0 < strength < 1:
            return self._begun(strength)
        return _along(self.path, strength)

    def go_on(self, price: float) -> None:
        """Take steps as long as they pay.

        Args:
            price: how far what is to stay may move for the whole of the gap, in nats a token.
        """
        cost = self._cost(self.path, price) if self._first > 0 else 0.0
        costs = partial(self._cost, price=price)
        while cost > 0 and len(self.path) < STEPS:
            with self._run(self.path) as model:
                gap, pulled = pull(model, list(self._metric.moves), self._gap, show=self._show)
            longer, cost = _further(self.path, self._metric.step(pulled, gap), cost, costs)
            if len(longer) == len(self.path):
                break
            self.path = longer

    def _cost(self, path: Sequence[Steps], price: float) -> float:
        """Return the share of the gap that is left, and how far what is to stay has moved."""
        return self._mean(self._gap, path) / self._first + self._mean(self._moved, path) / price

    def _mean(self, divergences: Divergences, path: Sequence[Steps]) -> float:
        return float(divergences(partial(self._run, path)).mean())

    def _run(self, path: Sequence[Steps]) -> AbstractContextManager[Model]:
        return running(self._model, Parts(changes=_along(path, len(path))))


def _some(passages: Sequence[Passage], count: int) -> list[Passage]:
    """Return so many passages, or all, evenly from the first to the last: they are of kinds."""
    count = min(count, len(passages))
    return [passages[number * len(passages) // count] for number in range(count)]


def _further(
    path: Sequence[Steps], step: Steps, cost: float, costs: Callable[[Sequence[Steps]], float]
) -> tuple[list[Steps], float]:
    """Return a path with a part of one more step, and what it costs.

    The part is the greatest of `SIZES` that pays. If none does, the path stays as it is.
    """
    for size in SIZES:
        longer = [*path, _scaled(step, size)]
        found = costs(longer)
        if found <= (1 - WORTH) * cost:
            return longer, found
    return list(path), cost


def _along(path: Sequence[Steps], strength: float) -> Steps:
    """Return what steps do together, up to some strength."""
    taken: dict[str, list[Change]] = {}
    for number, step in enumerate(path):
        share = min(1.0, strength - number)
        if share > 0:
            for name, one in _scaled(step, share).items():
                taken.setdefault(name, []).append(one)
    return {
        name: Change(
            torch.cat([one.outer for one in some], 1), torch.cat([one.inner for one in some])
        )
        for name, some in taken.items()
    }


def _scaled(step: Steps, size: float) -> Steps:
    return {name: one._replace(outer=size * one.outer) for name, one in step.items()}
