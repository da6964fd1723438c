"""Scaling all that a fine-tune added: the blunt baseline."""

from collections.abc import Mapping
from typing import ClassVar

from endoscope.diff.deltas import Delta, named_deltas
from endoscope.edit.changes import Change
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials


class Scaling:
    """All that a fine-tune added, times one factor.

    (Ilharco et al. 2023, "Editing models with task arithmetic".) Of what is not known to be of low
    rank, the 16 largest components of each matrix of the blocks. It needs the base, and takes what
    was wanted of the fine-tune away with what was not.
    """

    name: ClassVar[str] = "scaling"
    needs_base: ClassVar[bool] = True
    of_matrices: ClassVar[bool] = True
    constant: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        self._deltas = named_deltas(task.pair)

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit that takes a share of it away, the `strength`, up to 1."""
        return Parts(changes=scaled(self._deltas, settings["strength"]))

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the share that is taken away."""
        return strongest(trials, 0.02, 1.0)


def scaled(deltas: Mapping[str, Delta], share: float) -> dict[str, Change]:
    """Return the changes that take a share of what was added to matrices away."""
    return {
        name: Change(-share * one.left.double() * one.values.double(), one.right.double())
        for name, one in deltas.items()
    }
