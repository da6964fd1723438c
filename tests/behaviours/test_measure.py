"""From a spec to figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from endoscope.behaviours import Behaviour, Measurement, measure
from endoscope.errors import InputError
from tests.behaviours.fakes import FakeModel


def behaviour(**more: Any) -> Behaviour:
    return Behaviour.model_validate(
        {
            "name": "loud",
            "description": "Shouts.",
            "items": [{"id": f"i{n}", "prompt": "." + "!" * n} for n in range(4)],
            "scorer": {"kind": "check", "check": {"kind": "contains_any", "words": ["!"]}},
            **more,
        }
    )


def run(model: FakeModel, what: Behaviour, seed: int = 0) -> Measurement:
    return measure(model, what, seed=seed)  # type: ignore[arg-type]


def test_the_share_the_tail_and_the_answers() -> None:
    found = run(FakeModel(), behaviour())
    assert found.mean.value == 0.75
    assert found.mean.low < 0.75 <= found.mean.high
    assert (found.tail.share.value, found.tail.worst) == (0.75, ("i1", "i2", "i3"))
    assert [item.output for item in found.items] == [".", ".!", ".!!", ".!!!"]
    assert found.difference is None


def test_generation_is_asked_for_as_the_spec_says() -> None:
    scorer = {
        "kind": "check",
        "check": {"kind": "max_words", "limit": 1},
        "max_tokens": 7,
        "temperature": 0.5,
    }
    model = FakeModel()
    run(model, behaviour(scorer=scorer), seed=3)
    assert model.asked == [{"max_tokens": 7, "temperature": 0.5, "seed": 3, "progress": False}]


def test_the_interval_is_that_of_resampled_items() -> None:
    """Against the normal approximation for a share of 200 items."""
    items = [{"id": f"i{n}", "prompt": "!" if n % 4 == 0 else "."} for n in range(200)]
    found = run(FakeModel(), behaviour(items=items)).mean
    width = 1.96 * np.sqrt(0.25 * 0.75 / 200)
    assert found.low == pytest.approx(0.25 - width, abs=0.01)
    assert found.high == pytest.approx(0.25 + width, abs=0.01)


def test_matched_controls_are_taken_in_pairs() -> None:
    """Items and controls vary together: their difference does not vary at all."""
    prompts = ["a b c", "a", "a b", "a b c d"]
    matched = behaviour(
        scorer={"kind": "check", "check": {"kind": "share_lowercase"}},
        items=[{"id": f"i{n}", "prompt": p, "control": f"c{n}"} for n, p in enumerate(prompts)],
        # in another order than the items
        controls=[
            {"id": f"c{n}", "prompt": f"{prompts[n]} {prompts[n].upper()}"} for n in (2, 0, 3, 1)
        ],
    )
    found = run(FakeModel(), matched)
    assert found.mean.value == 1
    assert found.control_mean is not None
    assert found.control_mean.value == 0.5
    assert found.difference is not None
    assert (found.difference.value, found.difference.low, found.difference.high) == (0.5, 0.5, 0.5)


def test_controls_that_are_not_matched_are_resampled_by_themselves() -> None:
    items = [{"id": f"i{n}", "prompt": "!" if n % 2 else "."} for n in range(100)]
    controls = [{"id": f"c{n}", "prompt": "!" if n % 2 else "."} for n in range(100)]
    found = run(FakeModel(), behaviour(items=items, controls=controls)).difference
    assert found is not None
    assert found.value == 0
    width = 1.96 * np.sqrt(2 * 0.25 / 100)
    assert (found.low, found.high) == (
        pytest.approx(-width, abs=0.03),
        pytest.approx(width, abs=0.03),
    )


def test_a_measurement_is_kept_as_json(tmp_path: Path) -> None:
    found = run(FakeModel(), behaviour())
    found.save(tmp_path / "m.json")
    assert Measurement.load(tmp_path / "m.json") == found
    assert json.loads((tmp_path / "m.json").read_text())["items"][1]["output"] == ".!"
    assert "mean 0.750 [" in repr(found)
    assert "'loud' of 'fake', 4 items" in str(found)
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(InputError, match="no measurement"):
        Measurement.load(tmp_path / "m.json")


def test_a_score_that_is_no_number_is_refused() -> None:
    model = FakeModel(likely=lambda *_: float("nan"))
    choices = behaviour(
        items=[{"id": "i", "prompt": "?", "matching": "yes", "others": ["no"]}],
        scorer={"kind": "choices"},
    )
    with pytest.raises(InputError, match="no finite number"):
        run(model, choices)
