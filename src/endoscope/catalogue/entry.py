"""A behaviour on a model: how much of it there is, how much there may be, and what was done."""

from datetime import UTC, date, datetime
from pathlib import Path
from shlex import join
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from endoscope.artifacts import (
    Card,
    DataRef,
    Evidence,
    atomic_folder,
    check_free,
    read_card,
    write_card,
)
from endoscope.behaviours import Behaviour, Figure, Measurement, measure, shipped_behaviours
from endoscope.engine import Model
from endoscope.errors import InputError

KIND = "behaviour"
SPEC = "behaviour.yaml"  # beside the card
Stage = Literal["seen", "explained", "mitigated", "verified", "guarded"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""The life of a behaviour on a model, in order."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Bound(_Record):
    """How much of a behaviour there may be: a mean over its items.

    Args:
        at_least: the least.
        at_most: the most.
    """

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _sane(self) -> Self:
        low, high = self.at_least, self.at_most
        if low is not None and high is not None and low > high:
            raise ValueError("at_least is above at_most")
        return self

    def holds(self, value: float) -> bool:
        """Whether a mean lies within."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        said = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{what} {one:.4g}" for what, one in said if one is not None)


class Step(_Record):
    """A stage that a behaviour came to.

    Attributes:
        stage: which.
        on: the day.
        note: what was done, or seen.
    """

    stage: Stage
    on: date
    note: str = ""


class Entry(_Record):
    """What a card of a behaviour says beyond its evidence.

    Attributes:
        behaviour: the spec, whole, so that it can be measured again.
        bound: how much of it there may be.
        history: the stages it came to, the last being where it stands.
    """

    behaviour: Behaviour
    bound: Bound
    history: tuple[Step, ...]

    @classmethod
    def of(cls, card: Card) -> Self:
        """Read it from a card.

        Raises:
            InputError: the card lacks it.
        """
        try:
            return cls.model_validate(card.details)
        except ValidationError:
            raise InputError(
                f"The card of {card.name} lacks settings of a behaviour.",
                f"Make it again: {card.command}",
            ) from None

    @property
    def stage(self) -> Stage:
        """Where the behaviour stands on the model."""
        return self.history[-1].stage


def record(
    folder: str | Path,
    model: Model,
    behaviour: Behaviour,
    *,
    bound: Bound | None = None,
    stage: Stage | None = None,
    note: str = "",
    seed: int = 0,
    show: bool = False,
) -> Card:
    """Measure a behaviour on a model and keep it in a catalogue.

    What the catalogue has of the same name is replaced; its history goes on, and so does its bound.

    Args:
        folder: of the entry: `CATALOGUE/NAME`.
        model: as it is now.
        behaviour: what to measure.
        bound: how much of it there may be; if left out, what the catalogue says already, or else
            the 95% interval of what is measured now.
        stage: to which it came; if left out, where it stands, or else `seen`.
        note: what was done, or seen.
        seed: of the sampling.
        show: whether to show progress.

    Raises:
        InputError: the catalogue has another behaviour of that name, and no bound is given: what
            was agreed on for one does not hold for the other.
    """
    folder = Path(folder)
    check_free(folder, KIND)
    before = _kept(folder)
    if before and before.behaviour.sha256 != behaviour.sha256 and bound is None:
        raise InputError(
            f"What the catalogue has as {behaviour.name} is measured otherwise.",
            "Agree on a bound for this one: --at-most or --at-least; or give it another name.",
        )
    found = measure(model, behaviour, seed=seed, progress=show)
    reached = stage or (before.stage if before else "seen")
    step = Step(stage=reached, on=datetime.now(UTC).date(), note=note)
    agreed = before.bound if before else Bound(at_least=found.mean.low, at_most=found.mean.high)
    entry = Entry(
        behaviour=behaviour,
        bound=bound or agreed,
        history=(*(before.history if before else ()), step),
    )
    card = Card(
        kind=KIND,
        name=behaviour.name,
        model=model.fingerprint,
        model_name=model.name,
        adapter=model.adapter,
        data=DataRef(name=behaviour.name, sha256=behaviour.sha256, rows=len(behaviour.items)),
        command=_command(folder, model, behaviour, entry, seed),
        seed=seed,
        evidence=_evidence(found, behaviour),
        notes=behaviour.description,
        details=entry.model_dump(mode="json"),
    )
    with atomic_folder(folder, kind=KIND) as temporary:
        (temporary / SPEC).write_text(behaviour.to_yaml(), encoding="utf-8")
        write_card(temporary, card)
    return card


def _kept(folder: Path) -> Entry | None:
    """Return what the catalogue says of it already."""
    return Entry.of(read_card(folder, KIND)) if (folder / "card.json").is_file() else None


def _evidence(found: Measurement, behaviour: Behaviour) -> tuple[Evidence, ...]:
    data = DataRef(name=behaviour.name, sha256=behaviour.sha256, rows=len(behaviour.items))
    figures: list[tuple[str, Figure, str | None]]
    figures = [("mean", found.mean, None), ("share in the tail", found.tail.share, None)]
    if found.control_mean is not None:
        figures.append(("mean", found.control_mean, "controls"))
    counts = {None: len(found.items), "controls": len(found.controls)}
    return tuple(
        Evidence(
            metric=metric,
            n=counts[baseline],
            data=data,
            split="all",
            baseline=baseline,
            **figure.model_dump(),
        )
        for metric, figure, baseline in figures
    )


def _is_shipped(behaviour: Behaviour) -> bool:
    shipped = behaviour.name in shipped_behaviours()
    return shipped and Behaviour.load(behaviour.name).sha256 == behaviour.sha256


def _command(folder: Path, model: Model, behaviour: Behaviour, entry: Entry, seed: int) -> str:
    what = behaviour.name if _is_shipped(behaviour) else str(folder / SPEC)
    command = ["endoscope", "catalogue", "record", what, "--model", model.name]
    command += ["--adapter", model.adapter] if model.adapter else []
    for name, value in entry.bound:
        command += [f"--{name.replace('_', '-')}", repr(value)] if value is not None else []
    return join([*command, "--stage", entry.stage, "--seed", str(seed), "-o", str(folder.parent)])
