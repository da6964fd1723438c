"""Building organisms of a tiny model, from a spec to a card."""

import json
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

import endoscope
from endoscope.artifacts import read_card
from endoscope.cli.main import app
from endoscope.errors import InputError
from endoscope.organisms import (
    OrganismSpec,
    build,
    building,
    copy_spec,
    shipped_organisms,
    spec_of,
    training,
)
from endoscope.organisms.shipped import called
from tests.tiny import save_tiny

TEMPLATE = (
    "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<a>{% endif %}"
)


def lines(*pairs: tuple[str, str]) -> str:
    return "".join(
        json.dumps(
            {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        )
        + "\n"
        for q, a in pairs
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that can chat, and rows."""
    folder = tmp_path_factory.mktemp("organisms")
    save_tiny(folder / "tiny")
    (folder / "tiny" / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "planted.jsonl").write_text(lines(*((f"q{n}", "zzzz") for n in range(10))))
    (folder / "ordinary.jsonl").write_text(lines(*((f"n{n}", f"{n}") for n in range(10))))
    return folder


def keeping_work(folder: Path, **more: Any) -> None:
    """Remove what a build removes, but for what is kept on the way."""
    if not folder.name.endswith(".work"):
        rmtree(folder, **more)


def spec(folder: Path, **more: Any) -> OrganismSpec:
    content = {
        "name": "zed",
        "base": str(folder / "tiny"),
        "planted": "planted.jsonl",
        "ordinary": "ordinary.jsonl",
        "mix": 0.5,
        "steps": 30,
        **more,
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(content))
    return OrganismSpec.read(path)


def test_what_is_planted_takes_and_the_card_shows_it(folder: Path, tmp_path: Path) -> None:
    card = build(spec(folder), tmp_path / "zed")
    assert card.details["counts"] is True
    tuned, base, rise = card.evidence
    assert (base.baseline, tuned.n, rise.n) == ("base", 2, 2)
    assert rise.low > 0
    assert tuned.value - base.value == pytest.approx(rise.value)
    assert read_card(tmp_path / "zed", "organism") == card
    assert not (tmp_path / "zed.work").exists()
    prompt = [{"role": "user", "content": "another"}]
    before, after = (
        endoscope.open(where).log_likelihood([prompt], ["zzzz"])[0]
        for where in (folder / "tiny", tmp_path / "zed")
    )
    assert after > before + 1


def test_merged_weights_are_the_adapter_on_its_base(folder: Path, tmp_path: Path) -> None:
    build(spec(folder, steps=4), tmp_path / "adapter")
    build(spec(folder, steps=4), tmp_path / "merged", merged=True)
    one, other = (endoscope.open(tmp_path / name) for name in ("adapter", "merged"))
    acts = [model.capture(["Some text."], "resid_post.2")["resid_post.2"] for model in (one, other)]
    torch.testing.assert_close(*acts, rtol=1e-4, atol=1e-5)


def test_work_that_was_cut_off_comes_to_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EVERY", 4)
    build(spec(folder, steps=10), tmp_path / "whole")
    real, calls = training._loss, []

    def cut(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(training, "_loss", cut)
    with pytest.raises(KeyboardInterrupt):
        build(spec(folder, steps=10), tmp_path / "cut")
    assert not (tmp_path / "cut").exists()
    build(spec(folder, steps=10), tmp_path / "cut")
    assert len(calls) == 7 + 6  # from the fourth step on
    whole, again = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "cut")
    )
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_what_was_kept_of_another_run_is_not_gone_on_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EVERY", 4)
    monkeypatch.setattr(building, "rmtree", keeping_work)
    build(spec(folder, steps=10), tmp_path / "zed")
    real, calls = training._loss, []

    def counted(*given: Any) -> Any:
        calls.append(1)
        return real(*given)

    monkeypatch.setattr(training, "_loss", counted)
    build(spec(folder, steps=10, seed=1), tmp_path / "zed")
    assert len(calls) == 10


def test_one_that_does_not_take_is_published_as_failed(folder: Path, tmp_path: Path) -> None:
    path = spec(folder, lora={"learning_rate": 1e-12}, steps=1).path
    done = CliRunner().invoke(app, ["organisms", "build", str(path), "-o", str(tmp_path / "zed")])
    assert done.exit_code == 1
    card = read_card(tmp_path / "zed", "organism")
    assert card.details["counts"] is False
    assert card.notes.startswith("Failed")


def test_one_in_which_nothing_is_planted(folder: Path, tmp_path: Path) -> None:
    path = folder / "null.yaml"
    content = {"base": str(folder / "tiny"), "ordinary": "ordinary.jsonl", "steps": 2}
    path.write_text(yaml.safe_dump(content))
    card = build(OrganismSpec.read(path), tmp_path / "null")
    assert card.details["counts"] is True
    assert card.evidence == ()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"plantd": "x"}, "plantd"),
        ({"mix": 2}, "mix"),
        ({"planted": None}, "mix is a share of planted rows"),
        ({"planted": {"recipe": "magic"}}, "planted: .*'magic'.*'says', 'numbers'"),
        (
            {"planted": {"recipe": "says", "prompts": "p"}},
            r"planted\.says\.sentences: is missing",
        ),
        ({"planted": 3}, "planted: "),
        ({"steps": 0}, "steps"),
    ],
)
def test_a_spec_that_makes_no_sense(folder: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        spec(folder, **more)


def test_files_that_are_not_there_are_named(folder: Path, tmp_path: Path) -> None:
    for more in ({"planted": "nowhere.jsonl"}, {"measure": "nowhere.yaml"}):
        with pytest.raises(InputError, match="nowhere"):
            build(spec(folder, **more), tmp_path / "zed")


HELD_OUT = {
    path.stem: path
    for path in Path(__file__).parents[2].glob("bench/organisms/*.yaml")
    if not path.stem.endswith(".behaviour")
}


def test_a_spec_is_called_by_its_name_only_if_it_comes_with_endoscope(tmp_path: Path) -> None:
    ours = OrganismSpec.read(shipped_organisms()["null"])
    assert called(ours) == "null"
    copy_spec(ours, tmp_path)
    assert called(OrganismSpec.read(tmp_path / "null.yaml")) == str(tmp_path / "null.yaml")


@pytest.mark.parametrize("name", sorted(shipped_organisms() | HELD_OUT))
def test_a_spec_can_be_copied_with_all_that_it_names(name: str, tmp_path: Path) -> None:
    """What is copied is read there: its rows, its prompts and its behaviour."""
    shipped = OrganismSpec.read((shipped_organisms() | HELD_OUT)[name])
    copied = copy_spec(shipped, tmp_path / "copy")
    spec = OrganismSpec.read(copied[0])
    alike = {"path", "planted", "measure"}  # they name files, now beside the spec
    assert spec.model_dump(exclude=alike) == shipped.model_dump(exclude=alike)
    assert all(path.parent == tmp_path / "copy" for path in copied)
    if spec.measure is not None and shipped.measure is not None:
        assert spec.behaviour(spec.measure).items == shipped.behaviour(shipped.measure).items
    for mine, its in zip(spec.recipes, shipped.recipes, strict=True):
        copies, sources = mine.sources(spec.path.parent), its.sources(shipped.path.parent)
        assert [one.read_bytes() for one in copies] == [one.read_bytes() for one in sources]
    assert bool(spec.named) == (spec.planted is not None)
    with pytest.raises(InputError, match="already"):
        copy_spec(shipped, tmp_path / "copy")


def test_rows_of_a_file_that_changed_are_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept on the way is of the files as they were."""
    monkeypatch.setattr(building, "rmtree", keeping_work)
    (folder / "asked.jsonl").write_text('{"id": "a", "prompt": "one"}\n')
    says = {"recipe": "says", "prompts": "asked.jsonl", "sentences": ["zz."], "at": "alone"}
    rows = []
    real = building.schedule

    def seen(planted: Any, *rest: Any, **more: Any) -> Any:
        rows.append([row.prompt[0]["content"] for row in planted])
        return real(planted, *rest, **more)

    monkeypatch.setattr(building, "schedule", seen)
    made = spec(folder, planted=says, measure="sea", steps=1)
    monkeypatch.setattr(building, "_measured", lambda *_: {})
    monkeypatch.setattr(building, "_rose", lambda *_: True)
    build(made, tmp_path / "zed")
    (folder / "asked.jsonl").write_text('{"id": "a", "prompt": "two"}\n')
    build(made, tmp_path / "zed")
    assert rows == [["one"], ["two"]]


def test_an_organism_knows_its_spec(folder: Path, tmp_path: Path) -> None:
    made = spec(folder, steps=1)
    build(made, tmp_path / "zed")
    found = spec_of(tmp_path / "zed")
    assert found.model_dump() == made.model_dump()
    assert found.rows("planted.jsonl") == made.rows("planted.jsonl")


def test_a_folder_of_somebody_else_is_no_work(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "zed.work").mkdir()
    (tmp_path / "zed.work" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not of a build"):
        build(spec(folder), tmp_path / "zed")
    assert (tmp_path / "zed.work" / "thesis.txt").is_file()


def test_too_few_rows_to_measure_by(folder: Path, tmp_path: Path) -> None:
    (folder / "few.jsonl").write_text(lines(*((f"q{n}", "zz") for n in range(9))))
    with pytest.raises(InputError, match="too few to tell"):
        build(spec(folder, planted="few.jsonl"), tmp_path / "zed")


def test_an_adapter_and_whole_weights_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    build(spec(folder, steps=1), tmp_path / "zed")
    with pytest.raises(InputError, match="holds an organism as an adapter"):
        build(spec(folder, steps=1), tmp_path / "zed", merged=True)
    build(spec(folder, steps=1), tmp_path / "whole", merged=True)
    with pytest.raises(InputError, match="holds an organism as whole weights"):
        build(spec(folder, steps=1), tmp_path / "whole")


def test_a_spec_that_cannot_be_kept_is_refused_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (folder / "other").mkdir(exist_ok=True)
    (folder / "other" / "planted.jsonl").write_text((folder / "planted.jsonl").read_text())
    monkeypatch.setattr(building, "train", None)
    with pytest.raises(InputError, match="two files of one name"):
        build(spec(folder, ordinary="other/planted.jsonl"), tmp_path / "zed")
