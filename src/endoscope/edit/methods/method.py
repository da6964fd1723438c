"""What the methods have in common: they make edits of some settings, and search for the best."""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from endoscope.edit.parts import Parts
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials

Settings = Mapping[str, float]
"""The numbers that tell the edits of one method apart."""


class Method(Protocol):
    """Finds edits that remove what a task names.

    Attributes:
        name: of the method, for the command line and cards.
        needs_base: whether it compares the model with its base.
        of_matrices: whether it changes matrices directly, and not at sites.
        constant: whether it adds a constant, for which weights need biases.
    """

    name: ClassVar[str]
    needs_base: ClassVar[bool]
    of_matrices: ClassVar[bool]
    constant: ClassVar[bool]

    def __init__(self, task: Task) -> None:
        """Read what the method needs of the models.

        Raises:
            InputError: it cannot do this task.
        """
        ...

    def parts(self, settings: Settings) -> Parts:
        """Return the edit of some settings."""
        ...

    def search(self, trials: Trials) -> Settings:
        """Return the settings with which it removes most for what it may move.

        Args:
            trials: runs the model with edits, and measures; what it measured before, perhaps in
                work that was cut off, it does not measure again.
        """
        ...
