"""How strong an edit of one number is to be: as strong as it must, and as it may."""

from collections.abc import Callable
from math import exp, log, sqrt

from endoscope.edit.trials import Trials

STEPS = 5  # of a bisection over the whole range
STRONGER = 1.5  # from one try to the next, beyond what the budget allows
WEAKER = 1.3  # from one to the next below it
TRIES = 4  # below it


def strongest(trials: Trials, low: float, high: float, **others: float) -> dict[str, float]:
    """Return the strength of an edit.

    If what is to go has gone with the greatest strength that moves what is kept no further than it
    may, gentler ones are tried, four at most, as long as it goes; of the gentlest and the greatest
    it is the (geometric) middle. What verifies is other questions, and so there is something to
    spare either way. If it has not gone, it gets stronger until it has: that is what the edit is
    for, and what it costs is said. What no strength removes is paid for as far as the budget goes.

    Args:
        trials: measures edits that move more the stronger they are.
        low: the gentlest.
        high: the strongest.
        others: further settings, which stay.
    """

    def at(strength: float) -> dict[str, float]:
        return {**others, "strength": float(f"{strength:.3g}")}  # as it is told, so it is done

    may = _greatest(lambda strength: trials.moved(at(strength)) <= trials.budget, low, high)
    if trials.is_gone(at(may)):
        must = may
        for _ in range(TRIES):
            if must < WEAKER * low or not trials.is_gone(at(must / WEAKER)):
                break
            must /= WEAKER
        middle = sqrt(must * may)
        return at(middle if trials.is_gone(at(middle)) else may)
    strength = may
    while strength < high:
        strength = min(high, STRONGER * strength)
        if trials.is_gone(at(strength)):
            return at(strength)
    return at(may)


def _greatest(is_allowed: Callable[[float], bool], low: float, high: float) -> float:
    """Return the greatest number that is allowed, to a step of the bisection."""
    if is_allowed(high):
        return high
    a, b = log(low), log(high)
    for _ in range(STEPS):
        middle = (a + b) / 2
        a, b = (middle, b) if is_allowed(exp(middle)) else (a, middle)
    return exp(a)
