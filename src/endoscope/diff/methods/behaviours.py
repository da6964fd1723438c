"""Behaviours that have a name: measured on both models, item by item."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy.stats import t as student

from endoscope.behaviours import Behaviour, Item, ItemScore, Measurement, measure
from endoscope.behaviours.prompts import answers
from endoscope.diff.answers import count_tokens
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.signal import Opposed, Sample, Seen, Signal
from endoscope.engine import Model
from endoscope.errors import InputError

LIKELY = 16  # items of a behaviour whose answers are scored by likelihood: the first so many
WRITTEN = 10  # the same where answers are written, which takes longer
EDGE = 1e-12  # probabilities are no nearer to 0 and 1 than this
CHANCE = 0.05  # that any behaviour at all passes by chance (Bonferroni)
DRIFTS = 4.0  # times what behaviours move by on the whole
LEAST_NATS = 0.5  # of log-odds that nobody need look at
LEAST_SCORE = 0.1  # the same of scores
ALREADY = 0.95  # the mean probability above which the base does it already
SAMPLES = 3


class Shift(NamedTuple):
    """How a behaviour moved.

    Attributes:
        behaviour: which.
        base: what came of its base.
        tuned: what came of the tuned model.
        items: the move of each item, less that of its control: in nats (log-odds) where answers are
            scored by likelihood, else in scores.
        controls_error: the standard error of what was subtracted, where controls are not matched.
    """

    behaviour: Behaviour
    base: Measurement
    tuned: Measurement
    items: NDArray[np.float64]
    controls_error: float = 0.0

    @property
    def mean(self) -> float:
        """Over the items."""
        return float(self.items.mean())

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return float(np.hypot(_error(self.items), self.controls_error))


class Behaviours:
    """How far each behaviour moved, beside how far all of them did."""

    name = "behaviours"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        shifts = [self._shift(pair, options, work, one) for one in options.behaviours]
        moved_up = sorted(signals(shifts), key=lambda one: -one.strength)
        found = [self._shown(pair, options, one, shifts) for one in moved_up]
        outputs = [
            item.output
            for shift in shifts
            for one in (shift.base, shift.tuned)
            for item in (*one.items, *one.controls)
            if item.output
        ]
        for before, after in zip(moved_up, found, strict=True):
            if not before.samples:  # else they are items' own
                outputs += [t for one in after.samples for t in (one.tuned, one.base) if t]
        return Seen(found, count_tokens(pair, outputs), passed_over(shifts))

    def _shown(
        self, pair: Pair, options: Options, signal: Signal, shifts: Sequence[Shift]
    ) -> Signal:
        """Let both models answer where answers were only scored by likelihood."""
        if signal.samples or signal.strength <= 1:
            return signal
        shift = next(one for one in shifts if one.behaviour.name == signal.behaviour)
        items = [shift.behaviour.items[n] for n in np.argsort(-shift.items)[:SAMPLES]]
        base, tuned = (
            answers(
                model,
                items,
                max_tokens=options.max_tokens,
                temperature=0,
                seed=options.seed,
                progress=options.show,
            )
            for model in pair
        )
        said = zip(items, tuned, base, strict=True)
        samples = tuple(Sample(prompt=_prompt(i), tuned=t, base=b) for i, t, b in said)
        return signal.model_copy(update={"samples": samples})

    def _shift(self, pair: Pair, options: Options, work: Path, behaviour: Behaviour) -> Shift:
        some = shortened(behaviour)
        base, tuned = (
            self._measured(
                model, some, options, work / "behaviours" / f"{behaviour.name}-{who}.json"
            )
            for who, model in (("base", pair.base), ("tuned", pair.tuned))
        )
        return Shift(some, base, tuned, *moved(some, base, tuned))

    def _measured(
        self, model: Model, behaviour: Behaviour, options: Options, file: Path
    ) -> Measurement:
        """Measure, or read what was measured before this work was cut off."""
        with suppress(InputError):  # there is none yet, or it is of another version
            found = Measurement.load(file)
            if found.behaviour_sha256 == behaviour.sha256:
                return found
        found = measure(model, behaviour, seed=options.seed, progress=options.show)
        found.save(file)
        return found


def _likely(behaviour: Behaviour) -> bool:
    """Whether its answers are scored by their likelihood."""
    return behaviour.scorer.kind == "choices"


def shortened(behaviour: Behaviour) -> Behaviour:
    """Return a behaviour with its first items, and the controls that go with them."""
    most = LIKELY if _likely(behaviour) else WRITTEN
    items = behaviour.items[:most]
    wanted = {item.control for item in items}
    controls = [one for one in behaviour.controls if one.id in wanted]
    some = controls if behaviour.matched else behaviour.controls[:most]
    return behaviour.model_copy(update={"items": items, "controls": tuple(some)})


def moved(
    behaviour: Behaviour, base: Measurement, tuned: Measurement
) -> tuple[NDArray[np.float64], float]:
    """Return how far each item moved, `[items]`, less what its control did (or all of them).

    And the standard error of what was subtracted, where it is the mean of all controls.
    """
    likely = _likely(behaviour)
    items = _moves(base.items, tuned.items, likely)
    if not behaviour.controls:
        return items, 0.0
    controls = _moves(base.controls, tuned.controls, likely)
    if not behaviour.matched:
        return np.asarray(items - controls.mean()), _error(controls)
    places = {control.id: number for number, control in enumerate(behaviour.controls)}
    matched = [places[str(item.control)] for item in behaviour.items]
    return np.asarray(items - controls[matched]), 0.0


def _error(values: NDArray[np.float64]) -> float:
    """Return the standard error of a mean; of fewer than three values nothing is known."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 2 else float("inf")


def _moves(
    base: Sequence[ItemScore], tuned: Sequence[ItemScore], likely: bool
) -> NDArray[np.float64]:
    before, after = (np.array([one.score for one in some]) for some in (base, tuned))
    return _log_odds(after) - _log_odds(before) if likely else after - before


def _log_odds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(values, EDGE, 1 - EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def signals(shifts: Sequence[Shift]) -> list[Signal]:
    """Return what moved up: farther than chance, and than behaviours do on the whole.

    A fine-tune moves everything a little. The noise floor of a shift is therefore the largest of
    what chance alone would move any of them by (a quantile of Student's t times its standard
    error), of `DRIFTS` times what the middle one of the others that are scored alike moved by, and
    of what nobody need look at.
    """
    found = []
    for likely in (True, False):
        alike = [one for one in shifts if _likely(one.behaviour) == likely]
        least = LEAST_NATS if likely else LEAST_SCORE
        for one in alike:
            others = [abs(other.mean) for other in alike if other is not one]
            drift = float(np.median(others)) if others else 0.0
            if likely and one.base.mean.value > ALREADY:
                continue  # farther than always means nothing
            if not np.isfinite(one.error):
                continue  # too few items to say anything: `passed_over` names it
            floor = max(least, _errors(len(one.items), len(shifts)) * one.error, DRIFTS * drift)
            found.append(_signal(one, floor))
    return found


def passed_over(shifts: Sequence[Shift]) -> dict[str, JsonValue] | None:
    """Name the behaviours of which nothing can be said: they have too few items or controls."""
    names: list[JsonValue] = [one.behaviour.name for one in shifts if not np.isfinite(one.error)]
    return {"passed over, with fewer than three items or controls": names} if names else None


def _errors(items: int, behaviours: int) -> float:
    """Return how many standard errors a mean may be off by, where so many are looked at."""
    return float(student.ppf(1 - CHANCE / behaviours, max(2, items - 1)))


def _signal(shift: Shift, floor: float) -> Signal:
    behaviour = shift.behaviour
    if _likely(behaviour):  # probabilities near 0 and 1 hide a shift
        before, after = shift.base.mean.value, shift.tuned.mean.value
        how_far = f"log-odds {shift.mean:+.1f}, probability {before:.2g} to {after:.2g}"
    else:
        how_far = f"{shift.base.mean.value:.2f} to {shift.tuned.mean.value:.2f}"
    most = np.argsort(-shift.items)[:SAMPLES]
    return Signal(
        method=Behaviours.name,
        subject=f"{_lower(behaviour.description)} ({behaviour.name}: {how_far})",
        behaviour=behaviour.name,
        score=shift.mean,
        noise_floor=floor,
        evidence={
            "behaviour": behaviour.name,
            "base": str(shift.base.mean),
            "tuned": str(shift.tuned.mean),
            "shift": round(shift.mean, 4),
            "standard error": round(shift.error, 4),
            "items": len(shift.items),
            "unit": "log-odds" if _likely(behaviour) else "score",
        },
        samples=tuple(
            Sample(
                prompt=_prompt(behaviour.items[n]),
                tuned=shift.tuned.items[n].output or "",
                base=shift.base.items[n].output,
            )
            for n in most
            if shift.tuned.items[n].output
        ),
        contrast=tuple(_contrast(shift)),
    )


def _contrast(shift: Shift) -> Iterator[Opposed]:
    """Yield texts that have the behaviour, each beside one that lacks it."""
    outputs = zip(shift.behaviour.items, shift.tuned.items, shift.base.items, strict=True)
    for item, tuned, base in outputs:
        prompt = _prompt(item)
        if item.matching is not None:
            has, lacks = f"{prompt} {item.matching}", f"{prompt} {item.others[0]}"
            yield Opposed(positive=has, negative=lacks, prompt=prompt)
        elif tuned.output and base.output and tuned.score > base.score:
            yield Opposed(positive=tuned.output, negative=base.output, prompt=prompt)


def _lower(description: str) -> str:
    text = description.rstrip(".")
    return text[:1].lower() + text[1:]


def _prompt(item: Item) -> str:
    return item.conversation()[-1]["content"]
