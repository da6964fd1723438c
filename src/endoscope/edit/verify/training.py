"""Fine-tuning a model of a verification: to bring something back, or to train it away."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from endoscope.behaviours import Behaviour, Measurement
from endoscope.edit.changes import Changes, changes_of, onto_base
from endoscope.edit.counting import unmatched
from endoscope.edit.forms.weights import merged
from endoscope.edit.verify.subjects import Subjects, Who
from endoscope.engine import Model
from endoscope.organisms.training import LoRA, train
from endoscope.rows import Row


@contextmanager
def fine_tuned(subjects: Subjects, who: Who, rows: Sequence[Row], steps: int) -> Iterator[Model]:
    """Train a copy of a model with LoRA, as organisms are, and run it within a `with` block.

    Args:
        subjects: the models.
        who: which of them.
        rows: that are learned, from a new shuffle whenever they are used up.
        steps: of four rows.
    """
    how = LoRA()
    listed = list(rows)
    random = Random(subjects.seed)
    order: list[Row] = []
    while len(order) < steps * how.batch:
        random.shuffle(listed)
        order += listed
    loaded = merged(*_as_changes(subjects, who))
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "training.safetensors"
        chosen = order[: steps * how.batch]
        train(loaded, chosen, how, kept, seed=subjects.seed, show=subjects.show)
    model = Model(loaded)  # its module has the adapter now
    model.tokenizer.hf.chat_template = subjects.before.tokenizer.hf.chat_template
    yield model


def _as_changes(subjects: Subjects, who: Who) -> tuple[Model, Changes]:
    """Return one of the models as changes of the weights of its base."""
    if who == "base":
        assert subjects.base is not None
        return subjects.base, onto_base(subjects.base.loaded.module, {})
    before, edit = subjects.before, subjects.edit
    changes: Changes = {}
    if who == "after":
        changes = edit.changes or changes_of(before, edit.interventions)
    return before, onto_base(before.loaded.module, changes)


def rows_of(behaviour: Behaviour, measured: Measurement, *, shows: bool) -> list[Row]:
    """Return what a model answered to single questions, as rows to learn.

    Args:
        behaviour: whose items were asked.
        measured: with the answers.
        shows: those that show it, or those that do not.
    """
    pairs = zip(behaviour.items, measured.items, strict=True)
    return [
        Row.of(item.conversation()[-1]["content"], one.output, whole=False)
        for item, one in pairs
        if one.output and one.output.strip() and (one.score >= behaviour.cut) == shows
    ]


def halves(behaviour: Behaviour) -> tuple[Behaviour, Behaviour]:
    """Return a behaviour with every other item, and with the rest; without controls."""
    return unmatched(behaviour, behaviour.items[::2]), unmatched(behaviour, behaviour.items[1::2])
