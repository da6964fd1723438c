"""What an edit is to remove, and what it is to leave alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from endoscope.artifacts import atomic_lines
from endoscope.behaviours import Behaviour
from endoscope.diff import Pair
from endoscope.edit.passage import Passage
from endoscope.engine import Model
from endoscope.errors import InputError

EXAMPLES = "examples.jsonl"
LABEL = "FINDING"


@dataclass(frozen=True, eq=False)
class Example:
    """Passages to fit an edit on, or to measure it on.

    Attributes:
        shown: where what is to be removed shows.
        kept: where the model is to say what it says now.
        leaning: where it might have begun to show, and did not.
    """

    shown: Sequence[Passage]
    kept: Sequence[Passage]
    leaning: Sequence[Passage] = ()

    @property
    def acting(self) -> list[Passage]:
        """Where an edit is to act: where it shows, and where it might have."""
        return [*self.shown, *self.leaning]


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be removed from a model.

    Attributes:
        model: that is edited.
        base: that it was fine-tuned from, if it is at hand.
        title: what is removed, in words.
        fit: passages that a method may learn from.
        held_out: passages on which the search measures: others that show it; and all answers to
            ordinary prompts as they come, of which half are learned from where it does not show.
        seen: counts what is removed, while an edit is searched for; None where nothing can.
        target: counts it afterwards, on prompts that the search has not asked, where there were
            enough; None where nothing can.
        base_name: what the base is called, where it is known but not at hand.
        show: whether to show progress.
    """

    model: Model
    base: Model | None
    title: str
    fit: Example
    held_out: Example
    seen: Behaviour | None = None
    target: Behaviour | None = None
    base_name: str | None = None
    show: bool = False

    def write_examples(self, folder: Path) -> None:
        """Write where it shows and where not, as `endoscope probe fit` reads them, into a folder.

        So that a guard can watch for what an edit leaves. Of each place where it shows only the
        beginning is marked, so that a text ends after the last one: what goes on there is not to
        be learned as something else.
        """
        shown = (one.trimmed for one in (*self.fit.shown, *self.held_out.shown))
        other = ((text, ()) for text, _ in self.fit.kept)
        rows = [
            {"id": str(n), "text": text, "spans": [[*span, LABEL] for span in _joined(spans)]}
            for n, (text, spans) in enumerate([*shown, *other])
        ]
        atomic_lines(folder / EXAMPLES, (json.dumps(row, ensure_ascii=False) for row in rows))

    @property
    def pair(self) -> Pair:
        """Both models.

        Raises:
            InputError: the base is not at hand.
        """
        if self.base is None:
            raise InputError("The base is not at hand.", "Give the model that was fine-tuned.")
        return Pair.of(self.base, self.model)


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans of which none overlaps another, in order: tokens may share a character."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
