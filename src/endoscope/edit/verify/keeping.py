"""A budget that stays with an edited model: with all that it names."""

from pathlib import Path

from endoscope.behaviours import Behaviour, shipped_behaviours
from endoscope.edit.counting import part_of
from endoscope.edit.division import Division
from endoscope.edit.edit import BUDGET
from endoscope.edit.task import Task
from endoscope.edit.verify.budget import Budget, Target
from endoscope.errors import InputError

DIVIDED = 16  # items of what is to fall: of fewer none is learned from


class Kept:
    """A budget and the behaviours that it names, to be written beside an edit.

    Args:
        budget: whose behaviours are opened from its folder.
        own: behaviours that are not in a file yet, by the name that the budget calls them.

    Raises:
        InputError: the budget names a behaviour that does not exist.
    """

    def __init__(self, budget: Budget, own: dict[str, Behaviour] | None = None) -> None:
        named = [budget.target.behaviour, *(one.behaviour for one in budget.wanted)]
        named += [] if budget.others == "all" else budget.others
        shipped = shipped_behaviours()
        own = own or {}
        self._behaviours = {
            name: own.get(name) or budget.behaviour(name)
            for name in named
            if name in own or name not in shipped
        }
        self.budget = budget

    def divided(self, seed: int) -> tuple[Division, "Kept"]:
        """Return what may be learned from, and the budget with the items that are left to verify.

        Half of the items of what falls are learned from, 24 at most; of fewer than 16 none. Of what
        is to stay it is half.

        Args:
            seed: of the division.

        Raises:
            InputError: what is to stay has a single item, which cannot be divided.
        """
        target = self._opened(self.budget.target.behaviour)
        wanted = {one.behaviour: self._opened(one.behaviour) for one in self.budget.wanted}
        for one in wanted.values():
            if len(one.items) < 2:
                raise InputError(
                    f"{one.name} is wanted, and has less than two items.",
                    "Give more: half of them are learned from, and half verify.",
                )
        if len(target.items) < DIVIDED:
            falling, left = target.model_copy(update={"items": (), "controls": ()}), target
        else:
            falling, left = (part_of(target, seed, first=first) for first in (True, False))
        kept = {name: part_of(one, seed, first=False) for name, one in wanted.items()}
        verifying = [left, *kept.values()]
        division = Division(
            falling,
            tuple(part_of(one, seed, first=True) for one in wanted.values()),
            tuple(item for one in verifying for item in (*one.items, *one.controls)),
        )
        if falling.items:
            kept[self.budget.target.behaviour] = left
        return division, Kept(self.budget, self._behaviours | kept)

    def _opened(self, name: str) -> Behaviour:
        return self._behaviours.get(name) or self.budget.behaviour(name)

    def write(self, folder: Path) -> None:
        """Write the budget into a folder that exists; what it names stands beside it."""
        files: dict[str, str] = {}
        for name, one in self._behaviours.items():
            file = f"{one.name}.behaviour.yaml"
            taken = file in files.values()
            files[name] = f"{one.name}-{len(files)}.behaviour.yaml" if taken else file
        for name, behaviour in self._behaviours.items():
            (folder / files[name]).write_text(behaviour.to_yaml(), encoding="utf-8")
        moved = self.budget.renamed(files)
        (folder / BUDGET).write_text(moved.to_yaml(), encoding="utf-8")

    @classmethod
    def of_task(cls, task: Task) -> "Kept":
        """Return a sensible budget for a task: its target falls, and nothing else moves.

        Raises:
            InputError: what is removed is a manner without words, which no check can see.
        """
        if task.target is None:
            raise InputError(
                f"Nothing that can be counted tells “{task.title}”.",
                "Give a --budget whose target is a behaviour of your own, such as with a judge.",
            )
        budget = Budget(target=Target(behaviour=task.target.name))
        return cls(budget, {task.target.name: task.target})
