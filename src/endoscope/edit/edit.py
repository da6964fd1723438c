"""Edits: a change of a model that is there to stay, and what speaks for it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from endoscope.artifacts import (
    Card,
    atomic_folder,
    check_free,
    check_same,
    load_artifact,
    read_card,
    save_artifact,
    write_card,
)
from endoscope.edit.changes import Change, Changes, changes_of, onto_base
from endoscope.edit.forms import FORMS, LIVE, check_form
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions import Intervention, parse_interventions

KIND = "edit"
RECORD = "edit"  # the folder within an edited model that holds the edit itself
INTERVENTIONS = "interventions.json"
BUDGET = "budget.yaml"
# What any form writes, and what is measured of it: of an older edit none of it is kept.
WRITTEN = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*config.json",
    "*.gguf",
    "tokenizer*",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocab.*",
    "merges.txt",
    "verify.*",
    "measurements",
    RECORD,
)


@dataclass(frozen=True, eq=False, repr=False)
class Edit:
    """A change of one model, at its sites or of its matrices.

    Attributes:
        card: what it is, which model it changes, and what speaks for it.
        interventions: what it does at sites, in order; none where it changes matrices directly.
        changes: what it does to matrices, by name, where it does so directly.

    Example:
        >>> edit = Edit(card, (ablate(direction, site="mlp_out.12"),))
        >>> edit.write(model, "edited", form="weights")
    """

    card: Card
    interventions: Sequence[Intervention] = ()
    changes: Changes = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.interventions and not self.changes:
            raise InputError("The edit changes nothing.", "Give interventions, or changes.")

    @property
    def name(self) -> str:
        """What people call it."""
        return self.card.name

    @property
    def is_live(self) -> bool:
        """Whether it was written as its record alone, and the model is to run with it."""
        return self.card.details.get("form", LIVE) == LIVE

    def check(self, model: Model) -> None:
        """Refuse a model that the edit is not of.

        Raises:
            InputError: it is another, or one that is derived from it.
        """
        check_same(self.card.model, model.fingerprint, f"The edit {self.name}")

    def write(
        self,
        model: Model,
        folder: str | Path,
        *,
        form: str = LIVE,
        beside: Callable[[Path], None] = lambda record: None,
    ) -> None:
        """Write the edited model, whole or not at all, with the record of the edit in it.

        Args:
            model: that the edit is of. It stays as it is.
            folder: for it; an older edit there is replaced, with its verification.
            form: `live`: the record alone; `adapter`: a PEFT adapter; `weights`: a model folder;
                `gguf`: a GGUF file, where the model came from one.
            beside: writes what else belongs to the record into its folder, such as a budget.

        Raises:
            InputError: the edit is of another model or is not exact in this form (says what is),
                the disk is full, or something else is in the folder.
        """
        folder = Path(folder)
        check_free(folder, KIND)
        self.check(model)
        changes = self._changes(model, form)
        size = _size(model) if form == "weights" else 0
        # what is left of another form would be opened in its stead, and its verification believed
        with atomic_folder(folder, kind=KIND, size=size, old=WRITTEN) as temporary:
            told: Mapping[str, float] = {}
            if form != LIVE:
                told = FORMS[form](model, onto_base(model.loaded.module, changes), temporary)
            tensors = {
                f"{name}.{part}": tensor
                for name, change in changes.items()
                for part, tensor in change._asdict().items()
                if tensor is not None
            }
            details = {**self.card.details, "form": form, **told}
            card = self.card.model_copy(update={"details": details})
            card = save_artifact(temporary / RECORD, card, tensors)
            records = [one.model_dump(mode="json") for one in self.interventions]
            text = json.dumps(records) + "\n"
            (temporary / RECORD / INTERVENTIONS).write_text(text, encoding="utf-8")
            beside(temporary / RECORD)
            write_card(temporary, card)
            (temporary / "README.md").write_text(card.to_markdown(), encoding="utf-8")

    def _changes(self, model: Model, form: str) -> Changes:
        """Return what it does to matrices; nothing where it is live and need not be exact."""
        check_form(form, model, sites=bool(self.interventions))
        if not self.interventions:
            return self.changes
        return {} if form == LIVE else changes_of(model, self.interventions)

    def undone(self, edited: Model, command: str) -> "Edit":
        """Return the edit of the edited model that takes this one back.

        The weights come back up to the rounding of their type.

        Args:
            edited: what `write` wrote.
            command: for the card.

        Raises:
            InputError: it is live, and no weight was changed.
        """
        if self.is_live:
            raise InputError(
                "The edit is live: no weight was changed.",
                f"Open the model itself: {self.card.model_name}.",
            )
        changes = {
            name: Change(-one.outer, one.inner, None if one.shift is None else -one.shift)
            for name, one in self.changes.items()
        }
        card = Card(
            kind=KIND,
            name=f"undone: {self.name}",
            model=edited.fingerprint,
            model_name=edited.name,
            adapter=edited.adapter,
            data=self.card.data,
            command=command,
            notes="What an edit added to matrices, taken away again.",
        )
        return Edit(card, changes=changes)

    @classmethod
    def load(cls, folder: str | Path) -> "Edit":
        """Load the edit of an edited model.

        Raises:
            InputError: the folder holds none, or it is damaged; says what to do.
        """
        read_card(folder, KIND)
        record = Path(folder) / RECORD
        card, tensors = load_artifact(record, KIND)
        try:
            records = json.loads((record / INTERVENTIONS).read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{record} has no whole {INTERVENTIONS}.", f"Make it again: {card.command}"
            ) from error
        names = [key.removesuffix(".outer") for key in tensors if key.endswith(".outer")]
        changes = {
            name: Change(*(tensors.get(f"{name}.{part}") for part in Change._fields))  # type: ignore[arg-type]
            for name in names
        }
        return cls(card, parse_interventions(records), changes)

    def __repr__(self) -> str:
        sites = ", ".join(sorted({str(one.site) for one in self.interventions}))
        where = sites or f"{len(self.changes)} matrices"
        figure = next((one for one in self.card.evidence if one.baseline is None), None)
        return f"Edit({self.name!r}: {where}{f'; {figure}' if figure else ''})"


def _size(model: Model) -> int:
    """Return how many bytes the weights of a model take on disk."""
    return sum(file.stat().st_size for file in model.loaded.folder.glob("*.safetensors"))
