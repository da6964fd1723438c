"""A neutral fine-tune as a control: what it does too is noise."""

from collections.abc import Sequence

from endoscope.diff.report import Ran
from endoscope.diff.signal import Signal


def raised(ran: Ran, neutral: Ran) -> Ran:
    """Return what a method saw, its noise floors raised by what it sees in a neutral fine-tune.

    Where that stands above the noise, floors rise as many times: that of a behaviour by the same
    behaviour; that of anything else by the strongest that is no behaviour, as two fine-tunes seldom
    say the very same words.

    Args:
        ran: on the tuned model.
        neutral: the same method on a fine-tune that changed nothing of interest.
    """
    signals = [_raised(signal, neutral.signals) for signal in ran.signals]
    return ran.model_copy(
        update={
            "signals": tuple(sorted(signals, key=lambda one: -one.strength)),
            "seconds": round(ran.seconds + neutral.seconds, 2),
            "generated": ran.generated + neutral.generated,
            "tokens": ran.tokens + neutral.tokens,
        }
    )


ROUNDING = 1 + 1e-9  # of a floor: what the neutral one does just as much is not above it


def _raised(signal: Signal, neutral: Sequence[Signal]) -> Signal:
    alike = [one.strength for one in neutral if one.behaviour == signal.behaviour]
    strength = max(alike, default=0.0)
    return signal.model_copy(
        update={
            "noise_floor": signal.noise_floor * max(1.0, strength * ROUNDING),
            "evidence": {**signal.evidence, "strength in the neutral one": round(strength, 3)},
        }
    )
