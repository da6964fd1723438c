"""Taking out of a fine-tune the components that act where something shows, and no others."""

from typing import ClassVar

import torch
from torch import Tensor

from endoscope.diff.deltas import named_deltas
from endoscope.edit.changes import Change
from endoscope.edit.inputs import moments
from endoscope.edit.task import Task

RIDGE = 1e-3  # of the mean variance of an input, added in every direction


class Components:
    """What a fine-tune added to each matrix, less its components that carry one finding.

    Let `D` be what was added to a matrix, `S` the second moments of the matrix's inputs where the
    finding shows, and `N` those of its inputs elsewhere. Of all changes `D'` the one is taken that
    adds least where the finding shows, and differs least from `D` elsewhere:
    `E_S |D' x|^2 + keep E_N |(D' - D) x|^2` is least for `D' = D keep N (S + keep N)^-1`. In the
    basis in which `N` is the identity and `S` diagonal, the singular directions of what shows
    against what does not, each component of `D` is multiplied by `keep / (s + keep)`: those go that
    act where the finding shows, and the others stay. (The closed form is that of linear editing of
    weights, Bau et al. 2020 and Meng et al. 2023, here applied to the difference of two models.)

    It needs the base, reads each text once, and takes no gradients.
    """

    name: ClassVar[str] = "components"
    strengths: ClassVar[tuple[float, ...]] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

    def __init__(self, task: Task) -> None:
        tuned = task.pair.tuned
        self._deltas = named_deltas(task.pair)
        names = list(self._deltas)
        self._shown = moments(tuned, names, task.shown, show=task.show)
        self._kept = moments(tuned, names, task.kept, show=task.show)

    def changes(self, strength: float) -> dict[str, Change]:
        """Return the edit.

        Args:
            strength: how much what shows counts, beside all that is to stay.
        """
        found, taken = {}, {}
        for name, delta in self._deltas.items():
            shown = self._shown[name]
            if id(shown) not in taken:  # of matrices that read the same
                taken[id(shown)] = _taken(shown, self._kept[name], 1 / strength)
            right = delta.right.double() @ taken[id(shown)]
            found[name] = Change(-delta.left.double() * delta.values.double(), right)
        return found


def _taken(shown: Tensor, kept: Tensor, keep: float) -> Tensor:
    """Return `S (S + keep N)^-1`: the part of an input that nothing is added for any more."""
    both = shown + keep * kept
    both.diagonal().add_(RIDGE * both.diagonal().mean())
    taken: Tensor = torch.linalg.solve(both, shown)
    return taken.T  # both factors are symmetric
