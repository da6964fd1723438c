"""The rule by which a behaviour has moved or a capability fallen, by hand."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from endoscope.behaviours import Behaviour, Figure
from endoscope.edit.verify.subjects import Subjects
from endoscope.edit.verify.verification import Role
from endoscope.edit.verify.verifying import Verifying

BEFORE = [0.2, 0.4, 0.6, 0.8] * 5


@pytest.mark.parametrize(
    ("role", "moves", "holds"),
    [
        ("other", [-0.002, -0.003] * 10, True),  # surely, and by nothing that matters
        ("other", [-0.05, -0.04] * 10, False),
        ("other", [0.05, 0.04] * 10, False),
        ("other", [-0.2, 0.1] * 10, True),  # as much on average, and not surely
        ("capability", [-0.002, -0.003] * 10, True),
        ("capability", [-0.05, -0.04] * 10, False),
        ("capability", [0.05, 0.04] * 10, True),  # it may rise
    ],
)
def test_what_surely_moves_by_more_than_a_hundredth_has_moved(
    role: Role, moves: list[float], holds: bool
) -> None:
    def measured(who: str, behaviour: Any) -> Any:
        scores = [b + m * (who == "after") for b, m in zip(BEFORE, moves, strict=True)]
        mean = sum(scores) / len(scores)
        items = [SimpleNamespace(score=one) for one in scores]
        return SimpleNamespace(items=items, mean=Figure(value=mean, low=mean, high=mean))

    subjects = cast(Subjects, SimpleNamespace(measured=measured, base=None))
    behaviour = cast(Behaviour, SimpleNamespace(name="tone"))
    assert Verifying(subjects)._compared(role, behaviour, 1).holds is holds
