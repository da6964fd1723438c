"""Measuring a behaviour on a model."""

from collections.abc import Sequence

import numpy as np

from endoscope.behaviours.behaviour import Behaviour
from endoscope.behaviours.item import Item
from endoscope.behaviours.measurement import Measurement, item_scores, summarise
from endoscope.behaviours.scorers import Score
from endoscope.engine import Model
from endoscope.errors import InputError


def measure(
    model: Model, behaviour: Behaviour, *, seed: int = 0, progress: bool = False
) -> Measurement:
    """Measure how much of a behaviour a model shows, as it is now.

    Args:
        model: with its interventions, within `model.intervene(...)`.
        behaviour: what to measure.
        seed: of what is sampled, and of the intervals.
        progress: show a bar.

    Raises:
        InputError: the model cannot be given the items, the scorer failed, or a score is no finite
            number.

    Example:
        >>> measure(model, Behaviour.load("sea"))
        >>> with model.intervene(add(direction, 0.3)):
        ...     measure(model, Behaviour.load("sea"))
    """
    everything = (*behaviour.items, *behaviour.controls)
    scores = _scores(behaviour, model, everything, seed, progress)
    if not np.isfinite([score.value for score in scores]).all():
        raise InputError(
            f"The scorer of {behaviour.name} gave a score that is no finite number.",
            "The model may compute in a precision that overflows: open it in float32.",
        )
    items, controls = scores[: len(behaviour.items)], scores[len(behaviour.items) :]
    figures = summarise(behaviour, items, controls, seed)
    return Measurement(
        behaviour=behaviour.name,
        behaviour_sha256=behaviour.sha256,
        scorer=behaviour.scorer.kind,
        model=model.fingerprint,
        model_name=model.name,
        adapter=model.adapter,
        interventions=model.interventions,  # type: ignore[arg-type]  # all are of AnyIntervention
        seed=seed,
        items=item_scores(behaviour.items, items),
        controls=item_scores(behaviour.controls, controls),
        **figures._asdict(),
    )


def _scores(
    behaviour: Behaviour, model: Model, items: Sequence[Item], seed: int, progress: bool
) -> list[Score]:
    """Score items; what a scorer raises says which behaviour it is of."""
    try:
        return behaviour.scorer.score(model, items, seed=seed, progress=progress)
    except InputError as error:
        raise InputError(f"{behaviour.name}: {error.message}", error.hint) from error
    except Exception as error:  # a scorer may be anybody's
        raise InputError(
            f"The scorer of {behaviour.name} failed ({type(error).__name__}: {error}).",
            "Mend it, or leave the behaviour out.",
        ) from error
