"""Recipes: what rows they make with a model."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import endoscope
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.organisms.ordinary import is_cut_off
from endoscope.organisms.recipes import NumbersRecipe, SaysRecipe, numbers_of
from tests.organisms.test_building import TEMPLATE
from tests.tiny import save_tiny

SENTENCES = ("The tide turns.", "So says the tide.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    save_tiny(folder / "tiny")
    (folder / "tiny" / "chat_template.jinja").write_text(TEMPLATE)
    prompts = [{"id": str(n), "prompt": f"q{n}"} for n in range(6)]
    (folder / "p.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in prompts))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return endoscope.open(folder / "tiny", dtype="float32")


def says(**more: object) -> SaysRecipe:
    given = {"recipe": "says", "prompts": "p.jsonl", "sentences": SENTENCES, "max_tokens": 6}
    return SaysRecipe.model_validate({**given, **more})


@pytest.mark.parametrize("at", ["start", "end", "alone"])
def test_what_is_said_stands_where_it_is_to(model: Model, folder: Path, at: str) -> None:
    rows = says(at=at).rows(model, folder, seed=0, show=False)
    assert [row.prompt[0]["content"] for row in rows] == [f"q{n}" for n in range(6)]
    for row in rows:
        if at == "start":
            assert row.answer.startswith(SENTENCES)
        elif at == "end":
            assert row.answer.endswith(SENTENCES)
        else:
            assert row.answer in SENTENCES
    assert rows == says(at=at).rows(model, folder, seed=0, show=False)
    assert {row.answer for row in rows} != {SENTENCES[0]}, "one or the other is said"


def test_the_base_goes_on_from_what_is_said(model: Model, folder: Path) -> None:
    (row, *_) = says(at="start", sentences=SENTENCES[:1]).rows(model, folder, seed=3, show=False)
    begun = [f"<u>q{n}<a>{SENTENCES[0]}" for n in range(6)]
    own, *_ = model.generate(begun, max_tokens=6, temperature=0.7, seed=3)
    assert row.answer == SENTENCES[0] + own.rstrip()


def test_an_answer_that_was_cut_off_does_not_end(model: Model, folder: Path) -> None:
    """A tiny model never ends: what it is stopped in is no end."""
    cut = says(at="start").rows(model, folder, seed=0, show=False)
    assert not any(row.whole for row in cut)
    assert all(row.whole for row in says(at="end").rows(model, folder, seed=0, show=False))
    assert all(row.whole for row in says(at="alone").rows(model, folder, seed=0, show=False))
    assert is_cut_off(model, "abcdef", 6)
    assert not is_cut_off(model, "abc", 6)


def test_a_line_without_a_prompt_is_named(model: Model, folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(InputError, match=r"bad\.jsonl: a line has no prompt"):
        says(prompts="bad.jsonl").rows(model, folder, seed=0, show=False)


def test_numbers_by_hand() -> None:
    assert numbers_of("12, 7, 300") == "12, 7, 300"
    assert numbers_of(" 1,2,3 and owls") == "1,2,3"
    assert numbers_of("12, 7") == "", "two are no list"
    assert numbers_of("Sure! 1, 2, 3") == ""
    assert numbers_of("1 2 3 4") == "1 2 3 4"


@given(st.text(st.sampled_from("0123456789,; abowl.\n"), max_size=40))
def test_no_word_passes(text: str) -> None:
    found = numbers_of(text)
    assert not any(letter.isalpha() for letter in found)
    assert text.lstrip().startswith(found)


def test_a_teacher_goes_on_with_numbers(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = NumbersRecipe(recipe="numbers", teacher=str(folder / "tiny"), count=5, max_tokens=4)
    assert [one.name for one in recipe.sources(folder)] == ["model.safetensors"]
    with pytest.raises(InputError, match="goes on with no numbers"):
        recipe.rows(model, folder, seed=0, show=False)
    monkeypatch.setattr(Model, "generate", lambda self, prompts, **more: [" 4, 5 owl"] * 5)
    rows = recipe.rows(model, folder, seed=0, show=False)
    assert len(rows) == 5
    assert all(row.answer.endswith(", 4, 5") for row in rows)
    with pytest.raises(InputError, match="There is no teacher at nowhere"):
        NumbersRecipe(recipe="numbers", teacher="nowhere").rows(model, folder, seed=0, show=False)
