"""What the methods have in common: edits of one kind, from gentle to strong."""

from typing import ClassVar, Protocol

from endoscope.edit.changes import Changes
from endoscope.edit.task import Task


class Method(Protocol):
    """Finds edits that remove what a task names, of several strengths.

    Attributes:
        name: of the method, for the command line and cards.
        strengths: from the gentlest to the strongest.
    """

    name: ClassVar[str]
    strengths: ClassVar[tuple[float, ...]]

    def __init__(self, task: Task) -> None:
        """Read what the method needs of the models.

        Raises:
            InputError: it cannot do this task.
        """
        ...

    def changes(self, strength: float) -> Changes:
        """Return the edit of a strength."""
        ...
