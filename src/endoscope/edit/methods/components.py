"""Taking out of a fine-tune the components that act where something shows, and no others."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from endoscope.diff.deltas import named_deltas
from endoscope.edit.changes import Change
from endoscope.edit.inputs import Moments, moments
from endoscope.edit.methods.least_squares import solved
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials

RIDGE = 3e-2  # with a thirtieth of it, plain prose moves several times as far


class Components:
    """What a fine-tune added to each matrix, less its components that carry one finding.

    Let `D` be what was added to a matrix, `N` the second moments of the matrix's inputs, and `S`
    those where the finding shows: as the tuned model reads them and as the base does, whose way the
    edited model is to go there. Of all changes `D'` the one is taken that adds least where the
    finding shows and differs least from `D` elsewhere: `s E_S |D' x|^2 + E_N |(D' - D) x|^2` is
    least for `D' = D N (s S + N)^-1`. In the basis in which `N` is the identity and `S` diagonal
    each component of `D` is divided by one plus `s` times how much more the finding goes that way:
    those go that carry the finding, and the others stay. (The closed form is that of linear editing
    of weights, Bau et al. 2020 and Meng et al. 2023, here of what sets two models apart.)

    It needs the base, reads each text once, and takes no gradients.
    """

    name: ClassVar[str] = "components"
    needs_base: ClassVar[bool] = True
    of_matrices: ClassVar[bool] = True
    constant: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        self._deltas = named_deltas(task.pair)
        names, fit = list(self._deltas), task.fit
        self._shown = _mean([moments(one, names, fit.acting, show=task.show) for one in task.pair])
        self._kept = moments(task.model, names, fit.kept, show=task.show)
        alike: dict[int, list[str]] = {}
        for name, shown in self._shown.items():
            alike.setdefault(id(shown), []).append(name)
        self._alike = list(alike.values())

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit; its `strength` is how much what shows counts beside what is to stay."""
        return Parts(changes=self._changes(settings["strength"]))

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the strength."""
        return strongest(trials, 0.01, 100.0)

    def _changes(self, strength: float) -> dict[str, Change]:
        found = {}
        for names in self._alike:  # matrices that read the same
            shown, kept = self._shown[names[0]], self._kept[names[0]].second
            rights = [self._deltas[name].right.double() for name in names]
            taken = solved(torch.cat(rights) @ shown.double(), shown, kept / strength, RIDGE)
            parts = torch.split(taken, [len(right) for right in rights])
            for name, right in zip(names, parts, strict=True):
                delta = self._deltas[name]
                found[name] = Change(-delta.left.double() * delta.values.double(), right)
        return found


def _mean(found: Sequence[Mapping[str, Moments]]) -> dict[str, Tensor]:
    """Return the mean of second moments; matrices that read the same still share theirs."""
    means: dict[int, Tensor] = {}
    for name, first in found[0].items():
        if id(first) not in means:
            means[id(first)] = torch.stack([one[name].second for one in found]).mean(0)
    return {name: means[id(first)] for name, first in found[0].items()}
