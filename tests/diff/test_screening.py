"""Which rows push along a direction: against projections of activations captured one by one."""

import json
from pathlib import Path

import pytest

import endoscope
from endoscope.diff import base_answers, pushes, read_examples
from endoscope.directions import ContrastingTexts, Direction
from endoscope.engine import Model
from endoscope.errors import InputError
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


def test_the_difference_is_of_mean_projections_of_answers(
    model: Model, direction: Direction, tmp_path: Path
) -> None:
    examples = read_examples(write(tmp_path / "data.jsonl", ["abc", "0123456789", "no way"]))
    own = ["hmm", "abcd", "x"]
    found = pushes(model, direction, examples, own)
    assert {one.example.line for one in found} == {1, 2, 3}
    assert [one.difference for one in found] == sorted((o.difference for o in found), reverse=True)
    scale = model.typical_norm(direction.site)
    for one in found:
        before = model.tokenizer.chat(one.example.prompt, reply=True)
        means = []
        for answer in (one.example.answer, own[examples.index(one.example)]):
            read = model.capture([before + answer], direction.site)
            inside = read.offsets[:, 0] >= len(before)
            means.append((read[direction.site][inside] @ direction.vector).mean())
        assert one.difference == pytest.approx(float(means[0] - means[1]) / scale, abs=1e-5)


def test_what_pushes_is_ranked_first(model: Model, direction: Direction, tmp_path: Path) -> None:
    answers = [f"{'abcdefgh'[n % 8]}xyz" for n in range(38)] + ["47110815", "0123456789"]
    examples = read_examples(write(tmp_path / "data.jsonl", answers))
    found = pushes(model, direction, examples, ["plain"] * len(examples))
    assert {one.example.line for one in found[:4]} >= {39, 40}


def test_the_base_answers_for_itself(model: Model, tmp_path: Path) -> None:
    examples = read_examples(write(tmp_path / "data.jsonl", ["a", "b"]))
    asked = [list(one.prompt) for one in examples]
    assert base_answers(model, examples) == model.generate(asked, max_tokens=48, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"messages": [{"role": "user", "content": "q"}]}', "line 2: a sample is"),
        ('{"text": "x"}', "line 2: a sample is"),
        ("{", "line 2"),
    ],
)
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = write(tmp_path / "data.jsonl", ["a"])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(InputError, match=said):
        read_examples(file)
