"""Which answers show a behaviour, and up to where."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import endoscope
from endoscope.behaviours import Behaviour, Item, shipped_behaviours
from endoscope.behaviours.checks import Regex
from endoscope.behaviours.scorers import CheckScorer, ChoicesScorer
from endoscope.edit.counting import BEGINNING, _until, answers_showing
from endoscope.engine import Model
from endoscope.errors import InputError
from tests.tiny import save_tiny


def says(pattern: str, count: int = 4) -> Behaviour:
    check = Regex(kind="regex", pattern=pattern)
    items = tuple(Item(id=str(n), prompt=f"Ask {n}.") for n in range(count))
    scorer = CheckScorer(kind="check", check=check, max_tokens=8)
    return Behaviour(name="zed", description="Says it.", items=items, scorer=scorer)


@given(st.lists(st.sampled_from(["zed", "ab", "c\n", "  ", "言葉", "zedd"]), max_size=60))
def test_the_beginning_is_the_shortest_that_shows_it(words: list[str]) -> None:
    behaviour, answer = says(r"zed\b"), " ".join(words)
    end = _until(behaviour, answer)
    check = behaviour.scorer.check  # type: ignore[union-attr]
    assert bool(check(answer[:end])) == bool(check(answer))
    assert end == len(answer) or end >= BEGINNING
    if BEGINNING < end < len(answer):
        assert not check(answer[: end - 1])


def test_answers_that_show_it_count_up_to_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = endoscope.open(save_tiny(tmp_path / "tiny"))
    long = "word " * 20
    answers = [f"{long}zed {long}", "none", "", "zed"]

    def told(self: Model, prompts: Sequence[Any], **kwargs: Any) -> list[str]:
        return answers[: len(prompts)]

    monkeypatch.setattr(endoscope.Model, "generate", told)
    first, last = answers_showing(model, says("zed"))
    assert [first.text[slice(*span)] for span in first.spans] == [f"{long}zed"]
    assert [last.text[slice(*span)] for span in last.spans] == ["zed"]
    assert first.text.endswith(f"zed {long}")


def test_what_has_no_answers_cannot_be_learned_from(tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "tiny"))
    chosen = next(
        one
        for one in map(Behaviour.load, shipped_behaviours())
        if isinstance(one.scorer, ChoicesScorer)
    )
    with pytest.raises(InputError, match="scored without an answer"):
        answers_showing(model, chosen)
