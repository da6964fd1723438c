"""What came of measuring a behaviour."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from endoscope.artifacts import DataRef, Evidence, Fingerprint, read_record, write_record
from endoscope.behaviours.behaviour import Behaviour
from endoscope.behaviours.item import Item
from endoscope.behaviours.scorers import Score
from endoscope.interventions import AnyIntervention
from endoscope.statistics import bootstrap_interval

WORST = 5  # how many items of the tail are named


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ItemScore(_Record):
    """What came of one item.

    Attributes:
        id: of the item.
        score: how much of the behaviour there is.
        output: what the model wrote, where it wrote anything.
    """

    id: str
    score: float
    output: str | None = None


class Figure(_Record):
    """A figure with its 95% interval, by resampling items."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Tail(_Record):
    """The items that show the behaviour.

    Attributes:
        cut: an item counts that scores this or more.
        share: of the items that do.
        worst: ids of those that score highest, highest first; five at most.
    """

    cut: float
    share: Figure
    worst: tuple[str, ...]


class Measurement(_Record):
    """How much of a behaviour a model shows.

    Attributes:
        behaviour: its name.
        behaviour_sha256: of the spec, so that measurements can be compared.
        scorer: the kind of scorer.
        model: fingerprint of the model.
        model_name: the name under which it was opened.
        adapter: the folder of the PEFT adapter that was given beside that name, if one was.
        interventions: what changed the model, in order.
        seed: of the sampling and the resampling.
        mean: over the items.
        control_mean: over the controls; None without any.
        difference: mean less control_mean; over pairs where items and controls are matched.
        tail: the items that show it.
        items: what came of each.
        controls: what came of each.
        created: when, in UTC.
        endoscope: version of Endoscope that measured.
    """

    behaviour: str
    behaviour_sha256: str
    scorer: str
    model: Fingerprint
    model_name: str
    adapter: str | None = None
    interventions: tuple[AnyIntervention, ...] = ()
    seed: int
    mean: Figure
    control_mean: Figure | None = None
    difference: Figure | None = None
    tail: Tail
    items: tuple[ItemScore, ...]
    controls: tuple[ItemScore, ...] = ()
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    endoscope: str = Field(default_factory=lambda: version("endoscope"))

    def save(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all.

        Raises:
            InputError: the disk is full.
        """
        write_record(path, self)

    @classmethod
    def load(cls, path: str | Path) -> "Measurement":
        """Read what `save` wrote.

        Raises:
            InputError: the file cannot be read or is no measurement.
        """
        return read_record(cls, path, "measurement", "Make it with `endoscope behaviours measure`.")

    def rows(self) -> list[tuple[str, str]]:
        """Return what a small table shows: names and figures."""
        found = [
            ("mean", self.mean),
            ("controls", self.control_mean),
            ("difference", self.difference),
            (f"share at {self.tail.cut:g} or more", self.tail.share),
        ]
        return [(name, str(figure)) for name, figure in found if figure is not None]

    def __repr__(self) -> str:
        what = f"{self.behaviour!r} of {self.model_name!r}, {len(self.items):,} items"
        figures = "; ".join(f"{name} {figure}" for name, figure in self.rows())
        return f"Measurement({what}: {figures})"

    __str__ = __repr__


class Summary(NamedTuple):
    """The figures of a measurement."""

    mean: Figure
    control_mean: Figure | None
    difference: Figure | None
    tail: Tail


def summarise(
    behaviour: Behaviour, items: Sequence[Score], controls: Sequence[Score], seed: int
) -> Summary:
    """Return the figures, each with its interval over items.

    Args:
        behaviour: what was measured.
        items: what came of its items, in order.
        controls: what came of its controls, in order.
        seed: of the resampling.
    """
    found = np.array([score.value for score in items])
    shown = (found >= behaviour.cut).astype(float)
    order = np.argsort(-found, kind="stable")[:WORST]
    worst = tuple(behaviour.items[i].id for i in order if shown[i])
    tail = Tail(cut=behaviour.cut, share=mean_figure(shown, seed), worst=worst)
    if not controls:
        return Summary(mean_figure(found, seed), None, None, tail)
    beside = np.array([score.value for score in controls])
    if behaviour.matched:
        places = {control.id: i for i, control in enumerate(behaviour.controls)}
        partners = [places[str(item.control)] for item in behaviour.items]
        difference = mean_figure(found - beside[partners], seed)
    else:
        difference = _difference(found, beside, seed)
    return Summary(mean_figure(found, seed), mean_figure(beside, seed), difference, tail)


def item_scores(items: Sequence[Item], scores: Sequence[Score]) -> tuple[ItemScore, ...]:
    """Return what came of each item, by its id."""
    return tuple(
        ItemScore(id=item.id, score=score.value, output=score.output)
        for item, score in zip(items, scores, strict=True)
    )


def mean_figure(values: NDArray[np.float64], seed: int) -> Figure:
    """Return the mean of values `[items]` with its interval over items."""
    low, high = bootstrap_interval(lambda rows: float(values[rows].mean()), len(values), seed=seed)
    return _figure(float(values.mean()), low, high)


def mean_evidence(
    metric: str,
    values: NDArray[np.float64],
    data: DataRef,
    *,
    split: str = "held-out",
    baseline: str | None = None,
    note: str | None = None,
) -> Evidence:
    """Return the mean of values `[items]`, with its interval over items, for a card."""
    return Evidence(
        metric=metric,
        n=len(values),
        data=data,
        split=split,
        baseline=baseline,
        note=note,
        **mean_figure(values, seed=0).model_dump(),
    )


def _difference(left: NDArray[np.float64], right: NDArray[np.float64], seed: int) -> Figure:
    """Two groups that are not matched: each is resampled by itself."""
    rng = np.random.default_rng(seed + 1)

    def statistic(rows: NDArray[np.int64]) -> float:
        others = right[rng.integers(0, len(right), len(right))]
        return float(left[rows].mean() - others.mean())

    low, high = bootstrap_interval(statistic, len(left), seed=seed)
    return _figure(float(left.mean() - right.mean()), low, high)


def _figure(value: float, low: float, high: float) -> Figure:
    # Sums in another order may differ in the last digit: the value is never outside its interval.
    return Figure(value=value, low=min(low, value), high=max(high, value))
