"""How much of a behaviour rose over the base, and what of that is left."""

from typing import NamedTuple

from endoscope.behaviours import Behaviour, Figure
from endoscope.edit.trying import Runs
from endoscope.edit.verify.subjects import Subjects


class Rise(NamedTuple):
    """How much there is of a behaviour.

    Attributes:
        before: the edit.
        after: the edit.
        base: in the base; None where it is not at hand, and zero is taken for it.
        left: the share of what rose over the base that is still there; None where nothing rose.
    """

    before: Figure
    after: Figure
    base: float | None
    left: float | None

    @property
    def gone(self) -> float | None:
        """The share of what rose that is not there any more."""
        return None if self.left is None else 1 - self.left


def rise(subjects: Subjects, behaviour: Behaviour) -> Rise:
    """Return how much of a behaviour rose, and is left after the edit."""
    return _rise(subjects, behaviour, subjects.measured("after", behaviour).mean)


def rise_after(subjects: Subjects, behaviour: Behaviour, name: str, about: str, run: Runs) -> Rise:
    """Return what is left after something else; arguments as of `Subjects.measured_on`."""
    return _rise(subjects, behaviour, subjects.measured_on(name, about, run, behaviour).mean)


def _rise(subjects: Subjects, behaviour: Behaviour, after: Figure) -> Rise:
    before = subjects.measured("before", behaviour).mean
    base = None if subjects.base is None else subjects.measured("base", behaviour).mean.value
    level = base or 0.0
    rose = before.value - level
    return Rise(before, after, base, (after.value - level) / rose if rose > 0 else None)
