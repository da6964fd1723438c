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

RIDGE = 3e-2  # of the mean variance of what is kept, as in `components`
STEPS = 3  # at most
NEAR = 0.1  # of the gap there was at first: no step is taken towards what is as near as that
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
    identity.) A step goes as far as it brings them closer; then there is another, of three at most.

    It needs the base, and propagates back through few texts once a step.
    """

    name: ClassVar[str] = "natural"
    needs_base: ClassVar[bool] = True
    of_matrices: ClassVar[bool] = True
    constant: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        base, self._model = task.pair
        self._show = task.show
        self._names = matrix_names(self._model, "readers", "writers")
        kept = task.fit.kept
        self._moves = sensitivities(self._model, self._names, kept[:STILL], show=task.show)
        whole = [Passage(one.text, ((0, len(one.text)),)) for one in kept]
        read = moments(self._model, self._names, whole, show=task.show)
        factors: dict[int, Tensor] = {}  # of matrices that read the same, once
        for second, _ in read.values():
            if id(second) not in factors:
                factors[id(second)] = _factor(second)
        self._factors = {name: factors[id(read[name].second)] for name in self._names}
        self._path = self._towards(base, [one.trimmed for one in task.fit.shown[:TOWARDS]])

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit; its `strength` counts steps, the last of which may be a part of one."""
        return Parts(changes=_along(self._path, settings["strength"]))

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the strength."""
        return strongest(trials, 0.01, float(len(self._path)))

    def _towards(self, base: Model, shown: Sequence[Passage]) -> list[Steps]:
        """Return steps, each as far as it brings predictions closer to the base's."""
        gap = Divergences(base, shown)

        def left(path: Sequence[Steps]) -> float:
            run = partial(running, self._model, Parts(changes=_along(path, len(path))))
            return float(gap(run).mean())

        path: list[Steps] = []
        first = now = left(path)
        while len(path) < STEPS and now > NEAR * first:
            with running(self._model, Parts(changes=_along(path, len(path)))):
                found = pull(self._model, base, self._names, shown, show=self._show)
            path, now = _further(path, self._step(found), left)
        return path

    def _step(self, found: Pull) -> Steps:
        """Return the step that would close the gap if it went on as it begins."""
        steps, falls = {}, 0.0
        for name in self._names:
            factor, moves = self._factors[name], self._moves[name]
            white = torch.linalg.solve_triangular(
                factor, found.gradients[name].double().T / moves, upper=False
            ).T
            outer, values, right = (one.double() for one in largest(white.float()))
            inner = torch.linalg.solve_triangular(factor.T, right.T, upper=True).T
            steps[name] = Change((outer * values).cpu(), inner.cpu())
            falls += moves * float((values**2).sum())
        return _scaled(steps, -found.apart / falls)


def _factor(second: Tensor) -> Tensor:
    """Return the Cholesky factor of second moments with the ridge, float64."""
    kept = second.double()
    kept.diagonal().add_(RIDGE * kept.diagonal().mean())
    factor: Tensor = torch.linalg.cholesky(kept)
    return factor


def _further(
    path: Sequence[Steps], step: Steps, left: Callable[[Sequence[Steps]], float]
) -> tuple[list[Steps], float]:
    """Return a path with one more step, as far as it leaves less than before, and what it leaves.

    Its size is a power of two: from one on in the direction that leaves less.
    """

    def to(size: float) -> tuple[float, float, list[Steps]]:
        longer = [*path, _scaled(step, size)]
        return left(longer), size, longer

    best = to(1.0)
    for factor in (2.0, 0.5):
        while (found := to(factor * best[1])) < best:
            best = found
        if best[1] != 1.0:
            break
    return best[2], best[0]


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
