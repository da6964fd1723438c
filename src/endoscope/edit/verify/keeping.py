"""A budget that stays with an edited model: with all that it names."""

from pathlib import Path

from endoscope.behaviours import Behaviour, Item, shipped_behaviours
from endoscope.behaviours.checks import Regex
from endoscope.behaviours.scorers import CheckScorer
from endoscope.edit.edit import BUDGET
from endoscope.edit.task import Task
from endoscope.edit.verify.budget import Budget, Target
from endoscope.errors import InputError

ITEMS = 48  # of the behaviour that a finding is made
TOKENS = 48  # of an answer, as many as a diff lets the models write


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
        self._behaviours = {
            name: (own or {}).get(name) or budget.behaviour(name)
            for name in named
            if name not in shipped
        }
        self.budget = budget

    def write(self, folder: Path) -> None:
        """Write the budget into a folder that exists; what it names stands beside it."""
        files = {name: f"{one.name}.behaviour.yaml" for name, one in self._behaviours.items()}
        for name, behaviour in self._behaviours.items():
            (folder / files[name]).write_text(behaviour.to_yaml(), encoding="utf-8")
        moved = self.budget.renamed(files)
        (folder / BUDGET).write_text(moved.to_yaml(), encoding="utf-8")

    @classmethod
    def of_finding(cls, task: Task) -> "Kept":
        """Return a sensible budget for removing a finding.

        The target is the behaviour that the finding is of, if it comes with Endoscope; or else that
        the model says the words of the finding when it is asked what it said them to.

        Raises:
            InputError: the finding is of a manner without words, which no check can see.
        """
        if task.behaviour in shipped_behaviours():
            return cls(Budget(target=Target(behaviour=str(task.behaviour))))
        if task.pattern is None:
            raise InputError(
                f"Nothing that can be counted tells “{task.title}”.",
                "Give a --budget whose target is a behaviour of your own, such as with a judge.",
            )
        name = "finding"
        items = tuple(Item(id=str(n), prompt=text) for n, text in enumerate(task.prompts[:ITEMS]))
        check = Regex(kind="regex", pattern=task.pattern)
        scorer = CheckScorer(kind="check", check=check, max_tokens=TOKENS)
        behaviour = Behaviour(name=name, description=task.title, items=items, scorer=scorer)
        return cls(Budget(target=Target(behaviour=name)), {name: behaviour})
