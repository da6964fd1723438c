"""A step of natural gradient towards what the base says where something shows."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from endoscope.diff.deltas import largest
from endoscope.edit.changes import Change
from endoscope.edit.inputs import matrix_names, moments
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts
from endoscope.edit.passage import Passage
from endoscope.edit.pulling import pull, sensitivities
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials

RIDGE = 3e-2  # of the mean variance of what is kept, as in `components`


class Natural:
    """A change of each matrix that pulls predictions to the base where it shows, and only there.

    Let `G` be the gradient, by a matrix, of KL(base || model) at the tokens where it shows; `N` the
    second moments of what the matrix reads in texts that are to stay, and `f` how far predictions
    there move with what it writes. Of all changes that move those as far, by `f E_N |C x|^2`, the
    one is taken that brings predictions closest to the base's, to first order: `C = -s G N^-1 / f`,
    of which the 16 largest components are kept. Strength 1 is the step that would close the gap if
    it went on as it begins. (A step of natural gradient, Amari 1998, by K-FAC, Martens and Grosse
    2015, whose factor of what is written is taken to be a multiple of the identity.)

    It needs the base, and propagates back through each text once.
    """

    name: ClassVar[str] = "natural"
    needs_base: ClassVar[bool] = True
    of_matrices: ClassVar[bool] = True
    constant: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        base, model = task.pair
        names, fit = matrix_names(model, "readers", "writers"), task.fit
        found = pull(model, base, names, fit.shown, show=task.show)
        moves = sensitivities(model, names, fit.kept, show=task.show)
        whole = [Passage(one.text, ((0, len(one.text)),)) for one in fit.kept]
        kept = moments(model, names, whole, show=task.show)
        factors: dict[int, Tensor] = {}  # of matrices that read the same, once
        steps, falls = {}, 0.0
        for name in names:
            second = kept[name].second
            if id(second) not in factors:
                factors[id(second)] = _factor(second)
            white = _whitened(found.gradients[name] / moves[name], factors[id(second)])
            outer, values, right = (one.double() for one in largest(white.float()))
            inner = torch.linalg.solve_triangular(factors[id(second)].T, right.T, upper=True).T
            steps[name] = Change((outer * values).cpu(), inner.cpu())
            falls += moves[name] * float((values**2).sum())
        size = found.apart / falls
        self._steps = {n: one._replace(outer=-size * one.outer) for n, one in steps.items()}

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit; its `strength` is how far it goes."""
        strength = settings["strength"]
        return Parts(
            changes={n: one._replace(outer=strength * one.outer) for n, one in self._steps.items()}
        )

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the strength."""
        return strongest(trials, 0.01, 10.0)


def _factor(second: Tensor) -> Tensor:
    """Return the Cholesky factor of second moments with the ridge, float64."""
    kept = second.double()
    kept.diagonal().add_(RIDGE * kept.diagonal().mean())
    factor: Tensor = torch.linalg.cholesky(kept)
    return factor


def _whitened(gradient: Tensor, factor: Tensor) -> Tensor:
    """Return a gradient in the coordinates in which what is kept has no direction of its own."""
    white: Tensor = torch.linalg.solve_triangular(factor, gradient.double().T, upper=False).T
    return white
