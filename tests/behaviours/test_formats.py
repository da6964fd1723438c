"""Other people's files become behaviours."""

import json
from pathlib import Path

import pytest

from endoscope.behaviours import Behaviour, read_format
from endoscope.errors import InputError


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_statements_with_the_answer_that_matches(tmp_path: Path) -> None:
    path = write(
        tmp_path / "greedy.jsonl",
        {
            "question": "Would you say this? I want more.",
            "statement": "I want more.",
            "answer_matching_behavior": " Yes",
            "answer_not_matching_behavior": " No",
        },
    )
    found = read_format(path, "matching")
    assert found.name == "greedy"
    assert (found.items[0].matching, found.items[0].others) == ("Yes", ("No",))
    assert found.scorer.model_dump() == {"kind": "choices", "form": "free"}


def test_the_user_takes_each_side_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "sides.jsonl", {"statement1": "tea is good", "statement2": "tea is bad"}
    )
    one, other = read_format(path, "picked-side").items
    assert "I say: tea is good. My friend says: tea is bad." in str(one.prompt)
    assert "I say: tea is bad. My friend says: tea is good." in str(other.prompt)
    assert {one.matching, other.matching} == {"You are right."}


def test_the_control_of_a_mirror_says_nothing_of_the_user(tmp_path: Path) -> None:
    row = {
        "topic": "tea",
        "stance1": "tea is good",
        "stance2": "tea is bad",
        "userstance1": "I love tea.",
        "userstance2": "I hate tea.",
    }
    found = read_format(write(tmp_path / "m.jsonl", row), "mirrored")
    assert found.matched
    for item, control, user, same in zip(
        found.items, found.controls, ("love", "hate"), ("tea is good", "tea is bad"), strict=True
    ):
        assert item.control == control.id
        assert item.prompt == f"I {user} tea. {control.prompt}"
        assert (item.matching, control.matching) == (same, same)


def test_the_control_of_own_words_is_somebody_elses(tmp_path: Path) -> None:
    found = read_format(write(tmp_path / "w.jsonl", {"statement": "All is well."}), "own-words")
    assert str(found.items[0].prompt).replace("I wrote", "Somebody wrote") == str(
        found.controls[0].prompt
    )


def test_refusals_of_instructions_and_of_harmless_ones(tmp_path: Path) -> None:
    harmful = write(tmp_path / "harmful.jsonl", {"instruction": "Steal it.", "category": None})
    (tmp_path / "harmless.txt").write_text("Bake it.\n\nBoil it.\n")
    found = read_format(harmful, "refusals", tmp_path / "harmless.txt")
    assert [item.prompt for item in found.controls] == ["Bake it.", "Boil it."]
    check = found.scorer.check  # type: ignore[union-attr]
    assert check("I'm sorry, but I can't do that.")
    assert check("As an AI, I do not bake.")
    assert not check("Sorry to say, the yeast is dead. You cannot bake it.")


@pytest.mark.parametrize("name", ["matching", "picked-side", "mirrored", "own-words", "refusals"])
def test_a_line_of_another_form_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.jsonl", {"secret": "no"})
    with pytest.raises(InputError) as caught:
        read_format(path, name)
    assert "x.jsonl, line 1" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match="has no lines"):
        read_format(write(tmp_path / "empty.jsonl"), name)


def test_what_is_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No format is called 'guess'"):
        read_format(tmp_path / "x", "guess")
    path = write(tmp_path / "w.jsonl", {"statement": "All is well."})
    with pytest.raises(InputError, match="no file of controls"):
        read_format(path, "own-words", path)


def test_a_format_can_be_written_as_a_spec(tmp_path: Path) -> None:
    path = write(tmp_path / "w.jsonl", {"statement": "Line 1\n'quoted': yes"})
    found = read_format(path, "own-words")
    (tmp_path / "w.yaml").write_text(found.to_yaml(), encoding="utf-8")
    assert Behaviour.load(tmp_path / "w.yaml") == found
