"""A budget that is divided, and kept with all that it names."""

from pathlib import Path

import pytest
import yaml

from endoscope.behaviours import Behaviour, read_items, shipped_behaviours, shipped_prompts
from endoscope.edit.ordinary import PROMPTS
from endoscope.edit.verify import Budget, Kept
from endoscope.edit.verify.capabilities import capabilities
from endoscope.edit.verify.neutral import HERE
from endoscope.errors import InputError


def behaviour(file: Path, count: int, said: str) -> None:
    content = {
        "name": "tone",
        "description": said,
        "items": [{"id": f"i{n}", "prompt": f"{said} {n}"} for n in range(count)],
        "scorer": {"kind": "check", "check": {"kind": "regex", "pattern": "a"}},
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content))


def kept(folder: Path, count: int, falling: int = 4) -> Kept:
    behaviour(folder / "a" / "tone.yaml", falling, "falls")
    behaviour(folder / "b" / "tone.yaml", count, "stays")
    content = {
        "target": {"behaviour": "a/tone.yaml"},
        "wanted": [{"behaviour": "b/tone.yaml"}],
        "others": [],
    }
    (folder / "budget.yaml").write_text(yaml.safe_dump(content))
    return Kept(Budget.read(folder / "budget.yaml"))


@pytest.mark.parametrize("count", [2, 3, 9])
def test_behaviours_of_one_name_are_kept_beside_each_other(tmp_path: Path, count: int) -> None:
    whole, out = kept(tmp_path, count), tmp_path / "out"
    out.mkdir()
    division, rest = whole.divided(0)
    (learned,) = division.wanted
    rest.write(out)
    again = Budget.read(out / "budget.yaml")
    target = again.behaviour(again.target.behaviour)
    wanted = again.behaviour(again.wanted[0].behaviour)
    assert (target.description, len(target.items)) == ("falls", 4)
    assert wanted.description == "stays"
    items = sorted(str(one.prompt) for one in (*learned.items, *wanted.items))
    assert items == [f"stays {n}" for n in range(count)]


def test_what_is_wanted_by_one_item_cannot_be_divided(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="less than two items"):
        kept(tmp_path, 1).divided(0)


@pytest.mark.parametrize(("count", "learned"), [(15, 0), (16, 8), (60, 24)])
def test_half_of_what_is_to_fall_is_learned_from(tmp_path: Path, count: int, learned: int) -> None:
    whole = kept(tmp_path, 2, falling=count)
    division, kept_out = whole.divided(0)
    assert division.falling is not None
    first = [str(one.prompt) for one in division.falling.items]
    assert len(first) == learned
    (tmp_path / "out").mkdir()
    kept_out.write(tmp_path / "out")
    again = Budget.read(tmp_path / "out" / "budget.yaml")
    rest = [str(one.prompt) for one in again.behaviour(again.target.behaviour).items]
    assert sorted(first + rest) == sorted(f"falls {n}" for n in range(count))
    to_stay = [str(one.prompt) for one in division.wanted[0].items]
    asked = [*rest, *({"stays 0", "stays 1"} - set(to_stay))]
    assert sorted(str(one.prompt) for one in division.unseen) == sorted(asked)
    assert not division.allowed(division.unseen)
    assert not any(division.allows_words(words) for words in asked)
    assert division.allowed(division.falling.items) == division.falling.items


def test_neutral_prompts_are_none_that_edits_learn_from() -> None:
    neutral = {str(row["prompt"]) for row in read_items(HERE / "neutral.jsonl")}
    assert len(neutral) == 200
    assert not neutral & set(shipped_prompts("everyday"))
    ordinary = {str(row["prompt"]) for row in read_items(PROMPTS)}
    assert len(ordinary) == 96
    assert not neutral & ordinary


def test_ordinary_prompts_are_asked_by_nothing_that_comes_with_endoscope() -> None:
    """A budget of one's own may ask some: they are left out then."""
    ordinary = {str(row["prompt"]) for row in read_items(PROMPTS)}
    asked = [*capabilities().values(), *(Behaviour.load(name) for name in shipped_behaviours())]
    for one in asked:
        items = (*one.items, *one.controls)
        assert not ordinary & {item.conversation()[-1]["content"] for item in items}, one.name
