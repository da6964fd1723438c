"""How far behaviours moved, and what that has to pass: from measurements made by hand."""

from collections.abc import Sequence
from math import log

import numpy as np
import pytest
from scipy.stats import t

from endoscope.artifacts import Fingerprint
from endoscope.behaviours import Behaviour, Measurement
from endoscope.diff.methods.behaviours import Shift, moved, passed_over, shortened, signals
from endoscope.diff.signal import Opposed

PRINT = Fingerprint(config="0" * 64, weights="0" * 64)


def behaviour(name: str, items: int, *, controls: int = 0, matched: bool = False) -> Behaviour:
    """Of answers to choose from."""
    choice = {"prompt": "q", "matching": "yes", "others": ["no"]}
    mine = [{"id": f"i{n}", **choice} for n in range(items)]
    for n, item in enumerate(mine if matched else []):
        item["control"] = f"c{n % controls}"
    given = {
        "name": name,
        "description": "Does it.",
        "items": mine,
        "controls": [{"id": f"c{n}", **choice} for n in range(controls)],
        "scorer": {"kind": "choices", "form": "free"},
    }
    return Behaviour.model_validate(given)


def measured(
    what: Behaviour, items: Sequence[float], controls: Sequence[float] = ()
) -> Measurement:
    given = {
        "behaviour": what.name,
        "behaviour_sha256": what.sha256,
        "scorer": what.scorer.kind,
        "model": PRINT.model_dump(),
        "model_name": "m",
        "seed": 0,
        "items": [{"id": one.id, "score": s} for one, s in zip(what.items, items, strict=True)],
        "controls": [
            {"id": one.id, "score": s} for one, s in zip(what.controls, controls, strict=True)
        ],
        "mean": {"value": float(np.mean(items)), "low": 0.0, "high": 1.0},
        "tail": {"cut": 0.5, "share": {"value": 0.0, "low": 0.0, "high": 1.0}, "worst": []},
    }
    return Measurement.model_validate(given)


def test_a_move_is_of_log_odds() -> None:
    what = behaviour("b", 3)
    items, error = moved(what, measured(what, [0.5, 0.1, 0.9]), measured(what, [0.9, 0.1, 0.5]))
    assert items.tolist() == pytest.approx([log(9), 0, -log(9)])
    assert error == 0


def test_what_controls_moved_by_is_taken_away() -> None:
    what = behaviour("b", 2, controls=4)
    base, tuned = measured(what, [0.5, 0.5], [0.5] * 4), measured(what, [0.9, 0.9], [0.9] * 4)
    items, error = moved(what, base, tuned)
    assert items.tolist() == pytest.approx([0, 0])
    assert error == pytest.approx(0)
    apart = moved(what, base, measured(what, [0.9, 0.9], [0.9, 0.5, 0.9, 0.5]))
    assert apart[0].tolist() == pytest.approx([log(9) / 2] * 2)
    assert apart[1] == pytest.approx(np.std([log(9), 0, log(9), 0], ddof=1) / 2)


def test_a_matched_control_is_taken_from_its_own_item() -> None:
    what = behaviour("b", 4, controls=2, matched=True)
    assert what.matched
    base = measured(what, [0.5] * 4, [0.5] * 2)
    tuned = measured(what, [0.9, 0.5, 0.9, 0.5], [0.9, 0.5])
    items, error = moved(what, base, tuned)
    assert items.tolist() == pytest.approx([0] * 4)
    assert error == 0


def shift(name: str, values: Sequence[float]) -> Shift:
    """One whose items moved by so much."""
    what = behaviour(name, len(values))
    half, moves = [0.5] * len(values), np.array(values)
    tuned = 1 / (1 + np.exp(-moves))
    return Shift(what, measured(what, half), measured(what, tuned.tolist()), moves)


def test_the_noise_floor_is_the_largest_of_three() -> None:
    wide = shift("wide", [4, 6, 5, 3, 7, 5])
    still = [shift(f"still{n}", [0.01, -0.01, 0.01, -0.01]) for n in range(3)]
    first = next(one for one in signals([wide, *still]) if one.behaviour == "wide")
    error = np.std([4, 6, 5, 3, 7, 5], ddof=1) / 6**0.5
    assert first.score == pytest.approx(5)
    assert first.noise_floor == pytest.approx(t.ppf(1 - 0.05 / 4, 5) * error)
    assert len([one for one in first.contrast if isinstance(one, Opposed)]) == 6
    drift = [shift(f"drift{n}", [2, 2.01, 1.99, 2]) for n in range(3)]
    moved_too = next(one for one in signals([wide, *drift]) if one.behaviour == "wide")
    assert moved_too.noise_floor == pytest.approx(4 * 2, rel=0.01)
    assert all(one.noise_floor >= 0.5 for one in signals(still)), "what nobody need look at"


def test_what_has_too_few_items_is_named() -> None:
    few, enough = shift("few", [1, 1]), shift("enough", [1, 1, 1])
    assert [one.behaviour for one in signals([few, enough])] == ["enough"]
    (names,) = (passed_over([few, enough]) or {}).values()
    assert names == ["few"]
    assert passed_over([enough]) is None


def test_a_long_behaviour_is_shortened_with_its_controls() -> None:
    what = behaviour("b", 40, controls=40, matched=True)
    some = shortened(what)
    assert [one.id for one in some.items] == [f"i{n}" for n in range(16)]
    assert [one.id for one in some.controls] == [f"c{n}" for n in range(16)]


def test_what_the_base_does_always_cannot_be_done_more() -> None:
    what = behaviour("always", 6)
    base, tuned = measured(what, [0.99] * 6), measured(what, [0.9999] * 6)
    still = [shift(f"still{n}", [0.0, 0.0, 0.0]) for n in range(3)]
    found = signals([Shift(what, base, tuned, *moved(what, base, tuned)), *still])
    assert "always" not in {one.behaviour for one in found}
