"""Floors that a neutral fine-tune raises, by hand."""

from random import Random

import pytest

from endoscope.diff.neutral import raised
from endoscope.diff.report import Ran
from endoscope.diff.signal import Signal


def signal(score: float, floor: float, behaviour: str | None = None) -> Signal:
    return Signal(method="m", subject="s", behaviour=behaviour, score=score, noise_floor=floor)


def ran(*signals: Signal) -> Ran:
    return Ran(method="m", signals=signals, seconds=2.0, generated=3, tokens=5)


def test_floors_rise_as_many_times_as_the_neutral_one_stands_above_its_own() -> None:
    mine = ran(signal(9, 2), signal(8, 2, "b"), signal(7, 2, "c"))
    found = raised(mine, ran(signal(4, 1), signal(3, 1), signal(6, 2, "b"), signal(1, 2, "c")))
    assert [one.score for one in found.signals] == [7, 8, 9]
    assert [one.noise_floor for one in found.signals] == pytest.approx([2, 6, 8])
    assert [one.evidence["strength in the neutral one"] for one in found.signals] == [0.5, 3.0, 4.0]
    assert (found.seconds, found.generated, found.tokens) == (4.0, 6, 10)


def test_what_the_neutral_one_does_not_do_changes_nothing() -> None:
    mine = ran(signal(9, 2), signal(8, 2, "b"))
    assert [one.noise_floor for one in raised(mine, ran()).signals] == [2, 2]


def test_what_the_neutral_one_does_as_much_is_never_above_by_rounding() -> None:
    random = Random(0)
    for _ in range(500):
        same = signal(random.uniform(1, 100), random.uniform(0.1, 1))
        (found,) = raised(ran(same), ran(same)).signals
        assert found.strength <= 1
        assert found.strength == pytest.approx(1)
