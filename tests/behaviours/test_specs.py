"""Specs: read, checked, written, shipped."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from endoscope.behaviours import Behaviour, shipped_behaviours
from endoscope.behaviours.behaviour import read_items
from endoscope.errors import InputError

GOOD: dict[str, Any] = {
    "description": "Says little.",
    "items": [{"id": "a", "prompt": "Hello"}],
    "scorer": {"kind": "check", "check": {"kind": "max_words", "limit": 3}},
}
CHOICE = {"id": "a", "prompt": "Tea?", "matching": "yes", "others": ["no"]}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "terse.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def test_the_name_is_that_of_the_file(tmp_path: Path) -> None:
    found = Behaviour.load(write(tmp_path))
    assert found.name == "terse"
    assert repr(found) == "Behaviour('terse': 1 items, scored by check)"


def test_items_may_stand_in_a_file_beside_the_spec(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(
        '{"id": "x", "prompt": "a"}\n\n{"id": "y", "prompt": "b"}'
    )
    found = Behaviour.load(write(tmp_path, items="items.jsonl"))
    assert [item.id for item in found.items] == ["x", "y"]
    (tmp_path / "items.jsonl").write_text('{"id": "x", "prompt": "Hi"}\n[]')
    with pytest.raises(InputError, match=r"items\.jsonl, line 2"):
        Behaviour.load(write(tmp_path, items="items.jsonl"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scorer": {"kind": "guess"}}, "scorer: Input tag 'guess'"),
        ({"scorer": {}}, "scorer: Unable"),
        (
            {"scorer": {"kind": "check", "check": {"kind": "max_words"}}},
            "check.limit: Field",
        ),
        ({"scorer": {"kind": "choices"}}, "item a: choices need matching"),
        ({"scorer": {"kind": "choices", "form": "essay"}, "items": [CHOICE]}, "scorer.form: "),
        ({"items": []}, "items: "),
        ({"items": [{"id": "a"}]}, "items.0: give either prompt or messages"),
        ({"items": [{"id": "a", "prompt": ""}]}, "items.0: the prompt is empty"),
        ({"items": [{"id": "a", "prompt": "x"}] * 2}, "two of the items have the same id"),
        ({"items": [{"id": "a", "prompt": "x", "control": "c"}]}, "not among the controls"),
        (
            {
                "items": [{"id": "a", "prompt": "x", "control": "c"}, {"id": "b", "prompt": "x"}],
                "controls": [{"id": "c", "prompt": "x"}],
            },
            "some items name a control and some do not",
        ),
        ({"itmes": []}, "itmes: Extra inputs"),
    ],
)
def test_a_bad_spec_is_explained_in_one_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        Behaviour.load(write(tmp_path, **changes))
    assert words in str(caught.value)
    assert str(caught.value).startswith("terse.yaml: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_spec_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no behaviour nowhere"):
        Behaviour.load("nowhere")
    for content in ("- a", "a: [", "\t: x"):
        (tmp_path / "b.yaml").write_text(content)
        with pytest.raises(InputError, match=r"no keys|not valid YAML"):
            Behaviour.load(tmp_path / "b.yaml")


@pytest.mark.parametrize("name", sorted(shipped_behaviours()))
def test_a_shipped_behaviour_survives_being_written(name: str, tmp_path: Path) -> None:
    shipped = Behaviour.load(name)
    (tmp_path / "copy.yaml").write_text(shipped.to_yaml(), encoding="utf-8")
    assert Behaviour.load(tmp_path / "copy.yaml") == shipped
    assert Behaviour.load(tmp_path / "copy.yaml").sha256 == shipped.sha256


def test_the_hash_is_of_what_is_measured() -> None:
    sea = Behaviour.load("sea")
    assert sea.model_copy(update={"items": sea.items[:-1]}).sha256 != sea.sha256


def prompts_of(name: str) -> set[str]:
    return {str(item.prompt) for item in Behaviour.load(name).items}


@cache
def shipped(name: str) -> Behaviour:
    return Behaviour.load(name)


@pytest.mark.parametrize("name", sorted(shipped_behaviours()))
def test_shipped_behaviours_can_be_told_apart(name: str) -> None:
    """By a name and a sentence, on items of which no two are the same."""
    found = shipped(name)
    assert len(found.items) >= 6
    assert len({item.model_dump_json(exclude={"id"}) for item in found.items}) == len(found.items)
    others = [shipped(other) for other in shipped_behaviours() if other != name]
    assert found.description not in {other.description for other in others}


FITTED = [
    path for path in shipped_behaviours().values() if path.with_suffix(".pairs.jsonl").exists()
]


@pytest.mark.parametrize("path", FITTED, ids=lambda path: path.stem)
def test_shipped_prompts_are_many_and_fit_no_direction(path: Path) -> None:
    prompts = prompts_of(path.stem)
    assert len(prompts) >= 60
    fitting = path.with_suffix(".pairs.jsonl")
    texts = [
        text
        for row in map(json.loads, fitting.read_text(encoding="utf-8").splitlines())
        for text in (row["positive"], row["negative"])
    ]
    assert len(texts) >= 80
    choosing = read_items(path.with_name("choosing.jsonl"))
    assert not prompts & {*texts, *(item["prompt"] for item in choosing)}
