"""Scaling all that a fine-tune added: the blunt baseline."""

from typing import ClassVar

from endoscope.diff.deltas import named_deltas
from endoscope.edit.changes import Change
from endoscope.edit.task import Task


class Scaling:
    """All that a fine-tune added, times one factor.

    (Ilharco et al. 2023, "Editing models with task arithmetic".) It needs the base, and takes what
    was wanted of the fine-tune away with what was not.
    """

    name: ClassVar[str] = "scaling"
    strengths: ClassVar[tuple[float, ...]] = tuple(n / 20 for n in range(1, 21))

    def __init__(self, task: Task) -> None:
        self._deltas = named_deltas(task.pair)

    def changes(self, strength: float) -> dict[str, Change]:
        """Return the edit that takes a share of it away.

        Args:
            strength: the share, up to 1.
        """
        return {
            name: Change(-strength * one.left.double() * one.values.double(), one.right.double())
            for name, one in self._deltas.items()
        }
