"""Steps of natural gradient towards what the base says where something shows."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from endoscope.diff.deltas import largest
from endoscope.edit.changes import Change
from endoscope.edit.inputs import matrix_names, moments
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts, running
from endoscope.edit.passage import Passage
from endoscope.edit.pulling import Pull, pull, sensitivities
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials
from endoscope.edit.trying import Divergences
from endoscope.engine import Model
from endoscope.errors import InputError

RIDGE = 3e-2  # of the mean variance of what is kept, as in `components`
STEPS = 8  # at most
SIZES = (0.5, 0.125, 0.03125)  # of one that would close the gap: it bends, and short steps follow
NEAR = 0.03  # of the gap there was at first: no step is taken towards what is as near as that
TOWARDS = 32  # passages where it shows
STILL = 32  # passages that are to stay, for sensitivities: they are single numbers

Steps = Mapping[str, Change]


class Natural:
    """Changes of matrices that pull predictions to the base where it shows, and only there.

    Let `G` be the gradient, by a matrix, of KL(base || model) at the tokens where it shows; `N` the
    second moments of what the matrix reads in texts that are to stay, and `f` how far predictions
    there move with what it writes. Of all changes that move those as far, by `f E_N |C x|^2`, the
    one is taken that brings predictions closest to the base's, to first order: `C = -s G N^-1 / f`,
    of which the 16 largest components are kept. (A step of natural gradient, Amari 1998, by K-FAC,
    Martens and Grosse 2015, whose factor of what is written is taken to be a multiple of the
    identity.) A step goes half as far as would close the gap if it went on as it begins, or less
    where that is too far. Then there is another, of eight at most, until .03 of it is left.

    It needs the base, and propagates back through few texts once a step.
    """

    name: ClassVar[str] = "natural"
    needs_base: ClassVar[bool] = True
    of_matrices: ClassVar[bool] = True
    constant: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        base, model = task.pair
        shown = [one.trimmed for one in _some(task.fit.shown, TOWARDS)]
        self._path = _towards(base, model, shown, _Metric(task), show=task.show)
        if not self._path:
            raise InputError(
                "No step brings the model closer to its base where it shows.",
                "Choose --method components.",
            )

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit; its `strength` counts steps, the last of which may be a part of one."""
        return Parts(changes=_along(self._path, settings["strength"]))

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the strength."""
        return strongest(trials, 0.01, float(len(self._path)))


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
        read = moments(model, names, whole, show=task.show)
        factors: dict[int, Tensor] = {}  # of matrices that read the same, once
        for second, _ in read.values():
            if id(second) not in factors:
                factors[id(second)] = _factor(second)
        self._factors = {name: factors[id(read[name].second)] for name in self.moves}

    def step(self, found: Pull) -> Steps:
        """Return the step that would close a gap if it went on as it begins."""
        steps, falls = {}, 0.0
        for name, moves in self.moves.items():
            factor, pulled = self._factors[name], found.gradients[name].double() / moves
            white = torch.linalg.solve_triangular(factor, pulled.T, upper=False).T
            outer, values, right = (one.double() for one in largest(white.float()))
            inner = torch.linalg.solve_triangular(factor.T, right.T, upper=True).T
            steps[name] = Change((outer * values).cpu(), inner.cpu())
            falls += moves * float((values**2).sum())
        return _scaled(steps, -found.apart / falls) if falls else {}


def _towards(
    base: Model, model: Model, shown: Sequence[Passage], metric: _Metric, *, show: bool
) -> list[Steps]:
    """Return steps that bring predictions closer to the base's."""
    gap = Divergences(base, shown)

    def left(path: Sequence[Steps]) -> float:
        run = partial(running, model, Parts(changes=_along(path, len(path))))
        return float(gap(run).mean())

    path: list[Steps] = []
    first = now = left(path)
    while len(path) < STEPS and now > NEAR * first:
        with running(model, Parts(changes=_along(path, len(path)))):
            found = pull(model, base, list(metric.moves), shown, show=show)
        longer, now = _further(path, metric.step(found), left, now)
        if len(longer) == len(path):
            break
        path = longer
    return path


def _some(passages: Sequence[Passage], count: int) -> list[Passage]:
    """Return so many passages, or all, evenly from the first to the last: they are of kinds."""
    count = min(count, len(passages))
    return [passages[number * len(passages) // count] for number in range(count)]


def _factor(second: Tensor) -> Tensor:
    """Return the Cholesky factor of second moments with the ridge, float64."""
    kept = second.double()
    kept.diagonal().add_(RIDGE * kept.diagonal().mean())
    factor: Tensor = torch.linalg.cholesky(kept)
    return factor


def _further(
    path: Sequence[Steps],
    step: Steps,
    left: Callable[[Sequence[Steps]], float],
    now: float,
) -> tuple[list[Steps], float]:
    """Return a path with a part of one more step, and what it leaves.

    The part is the greatest of `SIZES` that leaves less than there is now. If none does, the path
    stays as it is.
    """
    for size in SIZES:
        longer = [*path, _scaled(step, size)]
        found = left(longer)
        if found < now:
            return longer, found
    return list(path), now


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
