"""Sources: files, and which tokens' activations count."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import endoscope
from endoscope.directions import (
    ContrastingTexts,
    LabelledActivations,
    LabelledSpans,
    LabelledTexts,
    SystemPrompts,
    read_source,
)
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site
from tests.tiny import save_tiny

pytestmark = pytest.mark.usefixtures("one_thread")
SITE = Site.parse("resid_post.0")
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    found = endoscope.open(save_tiny(tmp_path_factory.mktemp("source")), device="cpu")
    found.tokenizer.hf.chat_template = TEMPLATE
    return found


def states(model: Model, text: str) -> torch.Tensor:
    """The values at SITE by Hugging Face's own hidden states, `[tokens, d_model]`."""
    ids = torch.tensor([model.tokenizer.encode(text).ids])
    found: torch.Tensor = model.loaded.module(ids, output_hidden_states=True).hidden_states[1][0]
    return found.double()


@settings(max_examples=20)
@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_which_tokens_count(model: Model, positive: str, negative: str) -> None:
    """BOS never does, and every character has a token, so text has rows from 1 on."""
    for tokens in ("mean", "last", "all"):
        source = ContrastingTexts.of([(positive, negative)], name="t", tokens=tokens)  # type: ignore[arg-type]
        contrast = source.read(model, [SITE])[SITE]
        for label, text in enumerate((negative, positive)):
            rows = states(model, text)[1:]
            wanted = {"mean": rows.mean(0, keepdim=True), "last": rows[-1:], "all": rows}[tokens]
            assert torch.allclose(contrast.rows[contrast.classes == label], wanted, atol=1e-5)
        assert set(contrast.units.tolist()) == {0}


def test_without_a_bos_the_first_token_of_the_text_does_not_count(model: Model) -> None:
    """It stands where the attention sink is."""
    from dataclasses import replace

    acts = model.capture(["abcd", "efgh"], SITE)
    bare = replace(
        acts,
        values={SITE: acts[SITE][acts.offsets[:, 1] > 0]},
        **{
            name: getattr(acts, name)[acts.offsets[:, 1] > 0]
            for name in ("token_ids", "offsets", "documents")
        },
    )
    source = LabelledActivations("bare", bare, torch.tensor([0, 1]), tokens="all")
    contrast = source.read(model, [SITE])[SITE]
    assert torch.equal(contrast.rows[:3], bare[SITE][1:4].double())
    assert len(contrast.rows) == 6


def test_a_text_of_which_nothing_is_left_is_named(model: Model) -> None:
    acts = model.capture(["ab", ""], SITE)
    with pytest.raises(InputError, match="Document '1' has no token"):
        LabelledActivations("x", acts, torch.tensor([0, 1])).read(model, [SITE])


def test_system_prompts_read_the_tokens_of_the_answers(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"<system>Be gay.": "Yes, 海!", "<system>Be sad.": "Oh"}
    asked: dict[str, Any] = {}

    def generate(prompts: Sequence[str], **how: Any) -> list[str]:
        asked.update(how)
        return [answers[prompt.split("<user>")[0]] + prompt[-14] for prompt in prompts]

    monkeypatch.setattr(model, "generate", generate)
    source = SystemPrompts("gay", "0" * 64, "Be gay.", "Be sad.", ("Who1?", "Who2?"), max_tokens=9)
    contrast = source.read(model, [SITE])[SITE]
    assert asked["max_tokens"] == 9
    assert (contrast.classes.tolist(), contrast.units.tolist()) == ([0, 1, 0, 1], [0, 0, 1, 1])
    for row, unit, label in zip(contrast.rows, (0, 0, 1, 1), (0, 1, 0, 1), strict=True):
        system = ("Be sad.", "Be gay.")[label]
        prompt = f"<system>{system}<user>Who{unit + 1}?<assistant>"
        answer = answers[f"<system>{system}"] + prompt[-14]
        rows = states(model, prompt + answer)[1 + len(prompt.encode()) :]
        assert len(rows) == len(answer.encode())
        assert torch.allclose(row, rows.mean(0), atol=1e-5)


def test_system_prompts_with_the_models_own_answers(model: Model) -> None:
    source = SystemPrompts("x", "0" * 64, "A", "B", ("Why?", "How?"), max_tokens=5)
    contrast = source.read(model, [SITE])[SITE]
    assert contrast.rows.shape == (4, 32)
    assert contrast.paired


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_pairs_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.pairs.jsonl",
        {"positive": "p", "negative": "n"},
        {"id": 7, "positive": "q", "negative": "m"},
    )
    found = ContrastingTexts.read_file(path, tokens="last")
    assert [(pair.id, pair.positive, pair.negative) for pair in found.pairs] == [
        ("1", "p", "n"),
        ("7", "q", "m"),
    ]
    assert found.ref.rows == 2
    assert repr(found) == "ContrastingTexts('a.pairs.jsonl': 2 pairs, tokens last)"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"positive": "secret"}, 'line 2: "negative" is no text'),
        ({"positive": " ", "negative": "secret"}, 'line 2: "positive" is no text'),
        ({"id": 1, "positive": "secret", "negative": "b"}, "line 2: the id was used"),
        ([], "line 2: not a JSON object"),
    ],
)
def test_bad_pairs_are_named_by_their_line(tmp_path: Path, line: object, words: str) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 1, "positive": "a", "negative": "b"}, line)
    with pytest.raises(InputError) as caught:
        ContrastingTexts.read_file(path)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_labels_and_groups_are_read(model: Model, tmp_path: Path) -> None:
    path = write(
        tmp_path / "l.jsonl",
        {"id": "a", "text": "one", "label": "x", "group": "g"},
        {"id": "b", "text": "two", "label": "y", "group": "g"},
        {"id": "c", "messages": [{"role": "user", "content": "hi"}], "label": "z"},
    )
    three = LabelledTexts.read_file(path).read(model, [SITE])[SITE]
    assert (three.labels, three.classes.tolist()) == (("x", "y", "z"), [0, 1, 2])
    assert three.units.tolist() == [0, 0, 1]
    against = LabelledTexts.read_file(path, positive="y")
    assert against.labels == ("others", "y")
    assert against.read(model, [SITE])[SITE].classes.tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="No document has the label 'w'"):
        LabelledTexts.read_file(path, positive="w")
    with pytest.raises(InputError, match="fewer than two labels"):
        LabelledTexts.read_file(write(tmp_path / "m.jsonl", {"id": 1, "text": "a", "label": "x"}))
    with pytest.raises(InputError, match=r'm\.jsonl, line 1: it has "spans"'):
        LabelledTexts.read_file(write(tmp_path / "m.jsonl", {"id": 1, "text": "a", "spans": []}))


def test_spans_of_a_text_are_told_apart(model: Model, tmp_path: Path) -> None:
    texts = ["abcdef", "ghijk"]
    path = write(
        tmp_path / "s.jsonl",
        {"id": "a", "text": texts[0], "spans": [[1, 3, "y"], [4, 6, "x"]]},
        {"id": "b", "text": texts[1], "spans": [[0, 2, "x"], [2, 3, "y"]]},
    )
    found = LabelledSpans.read_file(path).read(model, [SITE])[SITE]
    assert (found.labels, found.paired) == (("x", "y"), True)
    assert (found.classes.tolist(), found.units.tolist()) == ([0, 1, 0, 1], [0, 0, 1, 1])
    acts = model.capture(texts, SITE)
    for row, (document, start, end) in enumerate([(0, 4, 6), (0, 1, 3), (1, 0, 2), (1, 2, 3)]):
        rows = acts.rows(document)
        inside = [start <= a < b <= end for a, b in acts.offsets[rows].tolist()]
        assert any(inside)
        mean = acts[SITE][rows][torch.tensor(inside)].double().mean(0)
        torch.testing.assert_close(found.rows[row], mean)


def test_spans_of_one_label_are_told_apart_from_the_rest(model: Model, tmp_path: Path) -> None:
    path = write(
        tmp_path / "s.jsonl",
        {"id": "a", "text": "abcdef", "spans": [[1, 3, "x"]]},
        {"id": "b", "text": "ghijk", "spans": []},
    )
    each = LabelledSpans.read_file(path, tokens="all", positive="x").read(model, [SITE])[SITE]
    assert (each.labels, each.paired) == (("O", "x"), False)
    assert each.classes.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert each.units.tolist() == [0] * 6 + [1] * 5


def test_bad_spans_are_refused(model: Model, tmp_path: Path) -> None:
    def of(*rows: dict[str, Any]) -> LabelledSpans:
        return LabelledSpans.read_file(write(tmp_path / "s.jsonl", *rows))

    good = {"id": 1, "text": "ab", "spans": [[0, 1, "x"]]}
    with pytest.raises(InputError, match=r"s\.jsonl, line 2: it has a label for the whole"):
        of(good, {"id": 2, "text": "a", "label": "x"})
    with pytest.raises(InputError, match="fewer than two labels"):
        of({"id": 1, "text": "ab", "spans": []})
    two = {"id": 1, "text": "ab", "spans": [[0, 1, "x"], [1, 2, "y"]]}
    with pytest.raises(InputError, match="No document has the label 'z'"):
        LabelledSpans.read_file(write(tmp_path / "s.jsonl", two), positive="z")
    with pytest.raises(InputError, match="No token of the class 'O' is left"):
        of({**good, "spans": [[0, 2, "x"]]}).read(model, [SITE])


def test_system_prompts_are_read_from_yaml_and_json(tmp_path: Path) -> None:
    content = {"positive": "A", "negative": "B", "questions": ["Why?"]}
    (tmp_path / "s.json").write_text(json.dumps(content))
    found = SystemPrompts.read_file(tmp_path / "s.json")
    assert (found.positive, found.questions, found.max_tokens) == ("A", ("Why?",), 64)
    (tmp_path / "s.yaml").write_text("positive: A\nnegative: B\nmax_tokens: 5\nquestions:\n- Why?")
    assert SystemPrompts.read_file(tmp_path / "s.yaml").max_tokens == 5


@pytest.mark.parametrize(
    "change",
    [
        {"questions": []},
        {"questions": "Why?"},
        {"questions": ["Why?", 3]},
        {"positive": ""},
        {"negative": None},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"system": "x"},
    ],
)
def test_bad_system_prompts_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    content = {"positive": "A", "negative": "B", "questions": ["Why?"], **change}
    (tmp_path / "s.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"s\.json"):
        SystemPrompts.read_file(tmp_path / "s.json")


def test_activations_of_another_model_are_refused(
    model: Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    acts = model.capture(["ab", "cd"], SITE)
    source = LabelledActivations("x", acts, torch.tensor([0, 1]))
    other = endoscope.open(save_tiny(tmp_path_factory.mktemp("other"), seed=1), device="cpu")
    with pytest.raises(InputError, match="The activations x"):
        source.read(other, [SITE])
    with pytest.raises(InputError, match="1 classes were given for 2"):
        LabelledActivations("x", acts, torch.tensor([0]))
    with pytest.raises(InputError, match="not those of the labels"):
        LabelledActivations("x", acts, torch.tensor([0, 0]))


def test_what_a_file_is_shows_in_it(tmp_path: Path) -> None:
    pairs = write(tmp_path / "p.jsonl", {"positive": "a", "negative": "b"})
    assert isinstance(read_source(pairs), ContrastingTexts)
    labelled = write(
        tmp_path / "l.jsonl",
        {"id": 1, "text": "a", "label": "x"},
        {"id": 2, "text": "b", "label": "y"},
    )
    found = read_source(labelled, positive="x", tokens="all")
    assert isinstance(found, LabelledTexts)
    assert (found.labels, found.tokens) == (("y", "x"), "all")
    spans = write(tmp_path / "n.jsonl", {"id": 1, "text": "abc", "spans": [[1, 2, "x"]]})
    assert isinstance(read_source(spans), LabelledSpans)
    prompts = tmp_path / "s.json"
    prompts.write_text(json.dumps({"positive": "A", "negative": "B", "questions": ["Why?"]}))
    assert isinstance(read_source(prompts), SystemPrompts)
    with pytest.raises(InputError, match="'first' are no tokens"):
        read_source(pairs, tokens="first")
    (tmp_path / "e.jsonl").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_source(tmp_path / "e.jsonl")


def test_statements_with_two_answers_are_pairs(tmp_path: Path) -> None:
    row = {
        "question": "Do you?",
        "answer_matching_behavior": " No",
        "answer_not_matching_behavior": " Yes",
    }
    found = read_source(write(tmp_path / "m.jsonl", row), tokens="last")
    assert isinstance(found, ContrastingTexts)
    assert (found.pairs[0].positive, found.pairs[0].negative) == ("Do you? No", "Do you? Yes")
    bad = write(tmp_path / "m.jsonl", row, {**row, "question": None})
    with pytest.raises(InputError, match=r"m\.jsonl, line 2"):
        read_source(bad)


def test_concepts_come_with_negatives_of_their_genre(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")

    def row(concept: int, genre: str, category: str, output: str) -> dict[str, Any]:
        return {
            "input": "Why?",
            "output": output,
            "concept_id": concept,
            "concept_genre": genre,
            "category": category,
        }

    rows = [
        row(3, "text", "positive", "sea"),
        row(4, "code", "positive", "x = 1"),
        row(-1, "text", "negative", "plain"),
        row(-1, "code", "negative", "y = 2"),
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "c.parquet")
    found = read_source(tmp_path / "c.parquet", positive="3")
    assert isinstance(found, LabelledTexts)
    assert [(d.content[1]["content"], d.label) for d in found.documents] == [  # type: ignore[index]
        ("sea", "positive"),
        ("plain", "negative"),
    ]
    assert found.labels == ("negative", "positive")
    for wrong in (None, "5"):
        with pytest.raises(InputError, match="There are: 3, 4"):
            read_source(tmp_path / "c.parquet", positive=wrong)
    (tmp_path / "d.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="no table of concepts"):
        read_source(tmp_path / "d.parquet", positive="3")
