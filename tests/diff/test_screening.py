"""Which rows push along a direction: against projections of activations captured one by one."""

import json
from pathlib import Path

import numpy as np
import pytest

import endoscope
from endoscope.diff import base_answers, pushes
from endoscope.directions import ContrastingTexts, Direction
from endoscope.engine import Model
from endoscope.rows import read_rows
from tests.organisms.test_building import TEMPLATE
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = save_tiny(tmp_path_factory.mktemp("screening") / "tiny")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return endoscope.open(folder)


@pytest.fixture(scope="module")
def direction(model: Model) -> Direction:
    """From letters to digits."""
    pairs = [(f"{n}{n + 1}{n + 2}4711", f"{chr(97 + n)}bcdefg") for n in range(10)]
    return Direction.fit(model, ContrastingTexts.of(pairs, name="digits"), site="resid_post.1")


def write(path: Path, answers: list[str]) -> Path:
    rows = [
        [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": answer}]
        for n, answer in enumerate(answers)
    ]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return path


def test_the_difference_is_of_the_farthest_sentence_and_of_the_mean_of_the_own_answer(
    model: Model, direction: Direction, tmp_path: Path
) -> None:
    answers = {
        "abc": [(0, 3)],
        "Say it. 0123456789! no way": [(0, 7), (8, 19), (20, 26)],
        "no way": [(0, 6)],
    }
    rows = read_rows(write(tmp_path / "data.jsonl", list(answers)))
    own = {"hmm. 4711": [(0, 4)], "abcd": [(0, 4)], "x": [(0, 1)]}
    (found,) = pushes(model, [direction], rows, list(own))
    assert {one.row.line for one in found} == {1, 2, 3}
    differences = [one.difference or 0.0 for one in found]
    assert differences == sorted(differences, reverse=True)

    def mean(number: int, answer: str, start: int, end: int) -> np.ndarray:
        before = model.tokenizer.chat(rows[number].prompt, reply=True)
        read = model.capture([before + answer], direction.site)
        places = read.offsets[:, 0] - len(before)
        inside = (places >= start) & (places < end)
        return read[direction.site][inside].double().mean(0).numpy()

    sentences = np.array(
        [mean(n, a, *span) for n, (a, spans) in enumerate(own.items()) for span in spans]
    )
    spread = np.cov(sentences.T, bias=True)
    spread = spread / 2 + np.trace(spread) / len(spread) * np.eye(len(spread)) / 2
    axis = np.linalg.inv(spread) @ direction.vector.double().numpy()
    axis /= np.sqrt(axis @ spread @ axis)
    for one in found:
        n = rows.index(one.row)
        its = max(mean(n, one.row.answer, *span) @ axis for span in answers[one.row.answer])
        base = list(own)[n]
        expected = its - mean(n, base, 0, len(base)) @ axis
        assert one.difference == pytest.approx(expected, rel=1e-4)


def test_where_own_answers_do_not_differ_the_direction_itself_is_gone_along(
    model: Model, direction: Direction, tmp_path: Path
) -> None:
    rows = read_rows(write(tmp_path / "data.jsonl", ["abc", "4711"]))
    rows = [
        rows[0],
        rows[1].model_copy(update={"messages": rows[0].messages[:1] + rows[1].messages[1:]}),
    ]
    (found,) = pushes(model, [direction], rows, ["same", "same"])
    assert [one.row.line for one in found] == [2, 1]
    before = model.tokenizer.chat(rows[0].prompt, reply=True)
    read = model.capture([f"{before}abc", f"{before}4711"], direction.site)
    skip = len(model.tokenizer.encode(before).ids)
    (less, more) = (read[direction.site][read.rows(n)][skip:].mean(0) for n in (0, 1))
    apart = (found[0].difference or 0) - (found[1].difference or 0)
    assert apart == pytest.approx(float((more - less) @ direction.vector), rel=1e-3)


def test_several_directions_are_read_at_once(
    model: Model, direction: Direction, tmp_path: Path
) -> None:
    pairs = [(f"{n}! {n}!", f"{n} {n}") for n in range(10)]
    other = Direction.fit(model, ContrastingTexts.of(pairs, name="cries"), site="resid_post.0")
    rows = read_rows(write(tmp_path / "data.jsonl", ["abc", "Say it. 012!", "no", "yes! 4711"]))
    own = ["hmm", "4711", "x!", "y"]
    together = pushes(model, [direction, other, direction], rows, own)
    alone = [pushes(model, [one], rows, own)[0] for one in (direction, other)]
    assert together == [alone[0], alone[1], alone[0]]
    assert [one.row.line for one in alone[0]] != [one.row.line for one in alone[1]]


def test_what_pushes_is_ranked_first(model: Model, direction: Direction, tmp_path: Path) -> None:
    answers = [f"{'abcdefgh'[n % 8]}xyz" for n in range(38)]
    hidden = ["We xyz. 47110815", "0123456789! abcdef. ghi. jkl. mno. pqr."]
    rows = read_rows(write(tmp_path / "data.jsonl", [*answers, *hidden]))
    (found,) = pushes(model, [direction], rows, ["plain"] * len(rows))
    assert {one.row.line for one in found[:4]} >= {39, 40}


def test_the_base_answers_for_itself(model: Model, tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path / "data.jsonl", ["a", "b"]))
    asked = [list(one.prompt) for one in rows]
    assert base_answers(model, rows) == model.generate(asked, max_tokens=48, seed=0)
