"""How strong an edit of one number is to be: as strong as it may, or as it must."""

from collections.abc import Callable
from math import exp, log

from endoscope.edit.trials import Trials

STEPS = 5  # of a bisection over the whole range
STRONGER = 1.5  # from one try to the next, where it has not gone


def strongest(trials: Trials, low: float, high: float, **others: float) -> dict[str, float]:
    """Return the strength of an edit.

    It is the greatest that moves what is kept no further than it should; if what is to go has not
    gone by then, no further than it may. If that is not enough either, it gets stronger until it
    has gone: that is what the edit is for, and what it costs is said. What no strength removes is
    paid for as far as the budget goes, and no further.

    Args:
        trials: measures edits that move more the stronger they are.
        low: the gentlest.
        high: the strongest.
        others: further settings, which stay.
    """

    def at(strength: float) -> dict[str, float]:
        return {**others, "strength": float(f"{strength:.3g}")}  # as it is told, so it is done

    def within(most: float, low: float) -> float:
        return _greatest(lambda strength: trials.moved(at(strength)) <= most, low, high)

    should = within(trials.most, low)
    if trials.is_gone(at(should)):
        return at(should)
    strength = may = within(trials.budget, should)
    while not trials.is_gone(at(strength)):
        if strength >= high:
            return at(may)
        strength = min(high, STRONGER * strength)
    return at(strength)


def _greatest(is_allowed: Callable[[float], bool], low: float, high: float) -> float:
    """Return the greatest number that is allowed, to a step of the bisection."""
    if is_allowed(high):
        return high
    a, b = log(low), log(high)
    for _ in range(STEPS):
        middle = (a + b) / 2
        a, b = (middle, b) if is_allowed(exp(middle)) else (a, middle)
    return exp(a)
