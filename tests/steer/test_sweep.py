"""Sweeps of a tiny random model: what is measured, that it resumes, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import endoscope
from endoscope import InputError, add
from endoscope.behaviours import Behaviour, Item
from endoscope.directions import ContrastingTexts, Direction
from endoscope.engine import Model
from endoscope.steer import Cell, Limits, Place, Sweep, sweep
from endoscope.steer.controls import instructed, random_directions
from endoscope.steer.evidence import with_steering
from endoscope.steer.measuring import Measuring
from endoscope.steer.picture import draw
from tests.steer.made_up import made_up
from tests.tiny import save_tiny

PAIRS = [
    (f"the sea number {i} and its waves", f"the road number {i} and its cars") for i in range(8)
]
SITES = ["resid_post.0", "resid_post.1"]
HOW: dict[str, Any] = {"strengths": (0.5, 1.0), "random": 2, "most": 4}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDOSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("endoscope.steer.measuring.NEUTRAL_TOKENS", 6)
        patch.setattr("endoscope.steer.sweeping.NEUTRAL", 3)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return endoscope.open(save_tiny(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="module")
def directions(model: Model) -> list[Direction]:
    return Direction.fit_at(model, ContrastingTexts.of(PAIRS, name="pairs"), SITES)


@pytest.fixture(scope="module")
def behaviour() -> Behaviour:
    scorer = {"kind": "check", "check": {"kind": "share_lowercase"}, "max_tokens": 8}
    items = [{"id": str(i), "prompt": f"What is the number {i}?"} for i in range(8)]
    return Behaviour.model_validate(
        {"name": "small", "description": "Writes small.", "items": items, "scorer": scorer}
    )


@pytest.fixture(scope="module")
def found(model: Model, directions: list[Direction], behaviour: Behaviour) -> Sweep:
    return sweep(model, directions, behaviour, **HOW)


def test_every_place_is_measured_once(found: Sweep) -> None:
    places = [point.place for point in found.points]
    assert len(set(places)) == len(places) == 2 + 2 * 2 * 2
    assert [place.kind for place in places[:2]] == ["plain", "prompt"]
    assert {p.site for p in places if p.kind == "random"} == set(SITES)
    kinds = [point.place.kind for point in found.held_out]
    assert kinds == ["plain", "prompt", "direction", "random", "random"]
    assert {p.place.strength for p in found.held_out[2:]} == {found.chosen.strength}
    assert all(point.n == 4 for point in (*found.points, *found.held_out))


def test_the_plain_point_is_where_it_starts(found: Sweep) -> None:
    for points in (found.points, found.held_out):
        assert points[0].rise.value == 0
        assert points[0].perplexity_ratio.value == pytest.approx(1)
        assert points[0].kl is None
    assert all(p.kl is not None and p.kl.value > 0 for p in found.line("direction", SITES[0]))


def test_a_cell_is_what_the_model_does(
    model: Model, directions: list[Direction], behaviour: Behaviour, tmp_path: Path
) -> None:
    sweep(model, directions, behaviour, folder=tmp_path, **HOW)
    lines = (tmp_path / "cells.jsonl").read_text().splitlines()[1:]
    cells = {cell.place: cell for cell in map(Cell.model_validate_json, lines)}
    place = Place(split="choosing", kind="direction", site=SITES[1], strength=1.0)
    prompts = _choosing(behaviour)
    with model.intervene(add(directions[1], 1.0)):
        texts = model.generate(prompts, max_tokens=8)
    assert [one.text for one in cells[place].writings] == texts
    expected = model.log_likelihood(prompts, texts)
    assert [-one.surprisal for one in cells[place].writings] == pytest.approx(expected)

    drawn = random_directions(directions[1].site, model.d_model, 2, seed=0)
    for number in (0, 1):
        with model.intervene(add(drawn[number], 1.0, site=SITES[1])):
            texts = model.generate(prompts[number::2], max_tokens=8)
        turns = cells[place.model_copy(update={"kind": "random"})]
        assert [one.text for one in turns.writings[number::2]] == texts


def _choosing(behaviour: Behaviour) -> list[Any]:
    from random import Random

    items = list(behaviour.items)
    Random(0).shuffle(items)
    return [item.prompt for item in items[:4]]


def test_it_goes_on_where_it_was_killed(
    model: Model,
    directions: list[Direction],
    behaviour: Behaviour,
    found: Sweep,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[Place] = []
    original = Measuring.__call__

    def dies(self: Measuring, place: Place) -> Cell:
        if len(measured) in (3, 11):
            measured.append(place)
            raise KeyboardInterrupt
        measured.append(place)
        return original(self, place)

    monkeypatch.setattr(Measuring, "__call__", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sweep(model, directions, behaviour, folder=tmp_path, **HOW)
        with (tmp_path / "cells.jsonl").open("ab") as file:
            file.write(b'{"place": {"split": "cho')  # killed within a line
    again = sweep(model, directions, behaviour, folder=tmp_path, **HOW)
    assert again.model_dump(exclude={"created"}) == found.model_dump(exclude={"created"})
    assert len(measured) == 2 + len(set(measured))  # those that died were begun twice
    before = len(measured)
    sweep(model, directions, behaviour, folder=tmp_path, **HOW)
    assert len(measured) == before


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"strengths": (0.5,)}, "strengths"),
        ({"seed": 1}, "items, seed"),
        ({"positions": "generated"}, "positions"),
        ({"instruction": "Write small."}, "instruction"),
        ({"random": 3}, "random"),
    ],
)
def test_another_sweep_in_the_folder_is_refused(
    model: Model,
    directions: list[Direction],
    behaviour: Behaviour,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    name: str,
) -> None:
    monkeypatch.setattr(Measuring, "__call__", _never)
    for how, error in ((HOW, KeyboardInterrupt), (HOW | change, InputError)):
        with pytest.raises(error, match=name if error is InputError else None):
            sweep(model, directions, behaviour, folder=tmp_path, **how)


def _never(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_a_file_that_is_no_journal_is_refused(
    model: Model, directions: list[Direction], behaviour: Behaviour, tmp_path: Path
) -> None:
    (tmp_path / "cells.jsonl").write_text("hello\n")
    with pytest.raises(InputError, match="not of a sweep"):
        sweep(model, directions, behaviour, folder=tmp_path, **HOW)


def test_what_does_not_fit_is_refused(
    model: Model, directions: list[Direction], behaviour: Behaviour
) -> None:
    with pytest.raises(InputError, match="one direction a site"):
        sweep(model, directions[:1] * 2, behaviour, **HOW)
    with pytest.raises(InputError, match="one direction a site"):
        sweep(model, [], behaviour, **HOW)
    for strengths in ((), (0.1, 0.1), (0.0,), (float("nan"),)):
        with pytest.raises(InputError, match="strength"):
            sweep(model, directions, behaviour, **HOW | {"strengths": strengths})
    with pytest.raises(InputError, match="among those that are held out"):
        sweep(model, directions, behaviour, choosing=behaviour.items[:1], **HOW)
    with (
        model.intervene(add(directions[0], 1.0)),
        pytest.raises(InputError, match="changed already"),
    ):
        sweep(model, directions, behaviour, **HOW)


def test_items_to_choose_on_leave_all_others_held_out(
    model: Model, directions: list[Direction], behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Measuring] = []
    monkeypatch.setattr(Measuring, "__call__", lambda self, _: seen.append(self) or _never())
    items = [Item(id="c", prompt="Another?")]
    with pytest.raises(KeyboardInterrupt):
        sweep(model, directions, behaviour, choosing=items, **HOW | {"most": 99})
    assert seen[0].items["choosing"] == tuple(items)
    assert set(seen[0].items["held_out"]) == set(behaviour.items)


def test_likelihoods_are_scored_beside_neutral_texts(
    model: Model, directions: list[Direction]
) -> None:
    items = [
        {"id": str(i), "prompt": f"Is {i} small?", "matching": "Yes", "others": ["No"]}
        for i in range(4)
    ]
    behaviour = Behaviour.model_validate(
        {
            "name": "yes",
            "description": "Says yes.",
            "items": items,
            "scorer": {"kind": "choices", "form": "free"},
        }
    )
    found = sweep(model, directions[0], behaviour, strengths=(1.0,), random=2, most=2)
    assert all(point.n == 2 for point in found.points)
    assert all(point.tokens > 0 for point in found.points)


def test_cards_say_it(found: Sweep, directions: list[Direction], tmp_path: Path) -> None:
    chosen = next(one for one in directions if str(one.site) == found.chosen.site)
    with_steering(with_steering(chosen, found), found).save(tmp_path / "d")  # not twice
    card = Direction.load(tmp_path / "d").card
    told = [one for one in card.evidence if one.metric == "steering_rise"]
    assert [one.baseline for one in told] == [
        "plain",
        "prompt only",
        None,
        "random direction 0",
        "random direction 1",
    ]
    assert {one.split for one in told} == {"held_out"}
    assert told[2].value == found.one("direction", held_out=True).rise.value
    details: Any = card.details["steering"]
    assert details["usable_strengths"] == list(found.usable[str(chosen.site)])
    front = [(one["site"], one["strength"]) for one in details["pareto_front"]]
    assert set(front) == {(place.site, place.strength) for place in found.front}
    other = next(one for one in directions if one is not chosen)
    told = [e for e in with_steering(other, found).card.evidence if "steering" in e.metric]
    assert {one.split for one in told} == {"choosing"}
    assert [e.baseline for e in told if e.metric == "steering_kl"] == [None, "random directions"]


def test_it_is_written_and_read(found: Sweep, tmp_path: Path) -> None:
    found.save(tmp_path)
    assert Sweep.load(tmp_path) == found
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(InputError, match="is no sweep"):
        Sweep.load(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        Sweep.load(tmp_path / "nowhere")


def test_pictures_are_drawn_the_same_twice(tmp_path: Path) -> None:
    made = made_up()
    first = [file.read_bytes() for file in draw(made, tmp_path)]
    assert [file.read_bytes() for file in draw(made, tmp_path)] == first
    assert first[0].startswith(b"\x89PNG")
    said = first[1].decode()
    for words in ("strength, typical norms", "prompt only", "random directions", "Pareto front"):
        assert words in said


def test_more_random_directions_than_prompts(
    model: Model, directions: list[Direction], behaviour: Behaviour
) -> None:
    found = sweep(model, directions[0], behaviour, strengths=(0.5,), random=5, most=4)
    assert found.line("random", SITES[0])[0].n == 4
    assert len(found.random_rises) == 5


def test_a_picture_of_one_cell_can_be_drawn(
    model: Model, directions: list[Direction], behaviour: Behaviour, tmp_path: Path
) -> None:
    one = sweep(model, directions[0], behaviour, strengths=(0.5,), random=1, most=2)
    assert all(file.stat().st_size > 1000 for file in draw(one, tmp_path))


def test_pictures_need_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"endoscope\[plots\]"):
        draw(made_up(), tmp_path)


def test_random_directions_are_unit_vectors_of_their_own() -> None:
    site = endoscope.models.Site.parse("resid_post.3")
    drawn = random_directions(site, 64, 5, seed=2)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(5, dtype=torch.float64))
    assert torch.equal(drawn, random_directions(site, 64, 5, seed=2))
    assert not torch.equal(drawn, random_directions(site, 64, 5, seed=3))
    assert (drawn @ drawn.T - torch.eye(5, dtype=torch.float64)).abs().max() < 0.6


def test_an_instruction_is_a_system_prompt() -> None:
    item = Item(id="a", prompt="Hi")
    asked = instructed(item, "Be kind.", can_chat=True).conversation()
    assert asked == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
    ]
    assert instructed(item, "Be kind.", can_chat=False).prompt == "Be kind.\n\nHi"
    talk = Item.model_validate(
        {"id": "b", "messages": [{"role": "system", "content": "Be brief."}]}
    )
    both = instructed(talk, "Be kind.", can_chat=True).conversation()
    assert both == [{"role": "system", "content": "Be kind.\n\nBe brief."}]


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Limits(rise=0)
