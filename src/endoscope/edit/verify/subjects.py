"""The models of a verification, and what was measured on them, kept as soon as it is."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, RootModel

from endoscope.artifacts import Fingerprint, once
from endoscope.behaviours import Behaviour, Item, Measurement, measure
from endoscope.behaviours.prompts import prompt_of
from endoscope.edit.edit import Edit
from endoscope.edit.trying import Runs
from endoscope.engine import Model

R = TypeVar("R", bound=BaseModel)
Who = Literal["before", "after", "base"]


class _Answers(RootModel[list[str]]):
    """What a model answers to prompts."""


@dataclass(frozen=True)
class Subjects:
    """The models that are compared.

    Attributes:
        edit: what was done.
        before: the model before it.
        after: the edited model; None where the edit is live, and the model before runs with it.
        base: of the fine-tune, for what rose over it; None where it is not at hand.
        kept: a folder in which each measurement is kept.
        seed: of everything random.
        show: whether to show progress.
    """

    edit: Edit
    before: Model
    after: Model | None
    base: Model | None
    kept: Path
    seed: int = 0
    show: bool = False

    @property
    def present(self) -> tuple[Who, ...]:
        """Those that are at hand."""
        return ("before", "after") if self.base is None else ("before", "after", "base")

    def run(self, who: Who) -> AbstractContextManager[Model]:
        """Run one of them, within a `with` block."""
        if who == "base":
            assert self.base is not None
            return nullcontext(self.base)
        if who == "before":
            return nullcontext(self.before)
        if self.after is not None:
            return nullcontext(self.after)
        return self.before.intervene(*self.edit.interventions)

    def fingerprint(self, who: Who) -> Fingerprint:
        """Return which model one of them is."""
        with self.run(who) as model:
            return model.fingerprint

    def measured(self, who: Who, behaviour: Behaviour) -> Measurement:
        """Measure a behaviour, or read what was measured before this work was cut off."""
        about = self.fingerprint(who).digest
        return self.measured_on(who, about, lambda: self.run(who), behaviour)

    def measured_on(self, name: str, about: str, run: Runs, behaviour: Behaviour) -> Measurement:
        """Measure a behaviour on a model that is made for it, unless that was done before.

        Args:
            name: what the model is called.
            about: what tells it from all others.
            run: makes it, and runs it within a `with` block.
            behaviour: what is measured.
        """

        def found() -> Measurement:
            with run() as model:
                return measure(model, behaviour, seed=self.seed, progress=self.show)

        file = f"{behaviour.name}-{name}"
        return self.once(Measurement, file, f"{about} {behaviour.sha256}", found)

    def answers(self, name: str, items: Sequence[Item], tokens: int) -> list[str]:
        """Return what the model before the edit answers at temperature 1, or did before.

        Args:
            name: of the file.
            items: what it is asked.
            tokens: of an answer, at most.
        """
        model = self.before
        prompts = [prompt_of(model, one) for one in items]

        def generated() -> _Answers:
            return _Answers(
                model.generate(
                    prompts,
                    max_tokens=tokens,
                    temperature=1.0,
                    seed=self.seed,
                    progress=self.show,
                )
            )

        about = f"{model.fingerprint.digest} {json.dumps(prompts)} {tokens}"
        return self.once(_Answers, name, about, generated).root

    def once(self, kind: type[R], name: str, about: str, make: Callable[[], R]) -> R:
        """Return what was found before this work was cut off; or find it, and keep it.

        Args:
            kind: of record.
            name: of its file.
            about: what tells it from all others, but for the seed, the type and our version.
            make: finds it.
        """
        how = f"{self.before.dtype} {self.seed} {version('endoscope')}"
        digest = sha256(f"{about} {how}".encode()).hexdigest()[:16]
        return once(kind, self.kept / f"{name}-{digest}.json", make)
