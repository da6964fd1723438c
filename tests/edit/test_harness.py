"""Tasks of lm-evaluation-harness, against likelihoods by hand."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

import endoscope
from endoscope.edit.verify.harness import _known_tasks, harness
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions import add
from tests.tiny import save_tiny

pytestmark = pytest.mark.usefixtures("one_thread")

QUESTIONS = ("Tea?", "Where is it", "The dog", "One, two,", "Is it late?", "A good")
CHOICES = ("yes", "no", "on the table")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny model that writes letters and the like, never half a character."""
    found = endoscope.open(save_tiny(tmp_path_factory.mktemp("harness")), device="cpu")
    letters = [encode(found, chr(code), False)[0] for code in range(33, 127)]
    others = torch.ones(260, dtype=torch.bool).index_fill(0, torch.tensor(letters), False)
    found.loaded.module.lm_head.weight.data[others] = 0
    return found


@pytest.fixture
def lm(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("lm_eval")
    from endoscope.edit.verify.harness_model import HarnessModel

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return HarnessModel(model)


def logits(model: Model, ids: list[int]) -> Tensor:
    """What is predicted after each token, as log-probabilities `[tokens, vocabulary]`."""
    return torch.log_softmax(model.loaded.module(torch.tensor([ids])).logits[0].double(), dim=-1)


def by_hand(model: Model, before: list[int], after: list[int]) -> tuple[float, bool]:
    predicted = logits(model, [*before, *after])[len(before) - 1 : -1]
    told = predicted[torch.arange(len(after)), torch.tensor(after)]
    return float(told.sum()), predicted.argmax(-1).tolist() == after


def encode(model: Model, text: str, special: bool = True) -> list[int]:
    return model.tokenizer.encode(text, special=special).ids


def asked(*args: Any) -> SimpleNamespace:
    return SimpleNamespace(args=args)


def task(folder: Path, name: str, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """What stands in the YAML file of a task whose data lie in a file."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        **settings,
    }


def choosing(folder: Path, right: list[int]) -> dict[str, Any]:
    rows = [
        {"question": question, "choices": CHOICES, "answer": answer}
        for question, answer in zip(QUESTIONS, right, strict=True)
    ]
    return task(
        folder,
        "choosing",
        rows,
        output_type="multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice="choices",
        doc_to_target="answer",
    )


def chosen(model: Model, question: str) -> int:
    before = encode(model, question)
    found = [by_hand(model, before, encode(model, f" {one}", False))[0] for one in CHOICES]
    return found.index(max(found))


def test_likelihoods_are_those_by_hand(model: Model, lm: Any) -> None:
    pairs = [(question, f" {one}") for question in QUESTIONS for one in CHOICES]
    found = lm.loglikelihood([asked(*pair) for pair in pairs])
    for (question, answer), (value, greedy) in zip(pairs, found, strict=True):
        hand = by_hand(model, encode(model, question), encode(model, answer, False))
        assert (value, greedy) == (pytest.approx(hand[0], abs=1e-4), hand[1])


def test_it_says_what_the_model_itself_would_write(model: Model, lm: Any) -> None:
    """Of continuations that leave what it would write at no character, the last, and the first."""
    pairs = []
    for question, written in zip(QUESTIONS, model.generate(QUESTIONS, max_tokens=3), strict=True):
        pairs += [(question, text) for text in (written, written[:2] + "é", "é", written[0])]
    found = [greedy for _, greedy in lm.loglikelihood([asked(*pair) for pair in pairs])]
    assert found == [True, False, False, True] * len(QUESTIONS)
    hands = [by_hand(model, encode(model, a), encode(model, b, False))[1] for a, b in pairs]
    assert found == hands


def test_spaces_go_with_what_follows_and_nothing_is_a_context(model: Model, lm: Any) -> None:
    apart, together = lm.loglikelihood([asked("Tea? ", "yes"), asked("Tea?", " yes")])
    assert apart == together
    [(value, _)] = lm.loglikelihood([asked("", "yes")])
    hand, _ = by_hand(model, encode(model, ""), encode(model, "yes", False))
    assert value == pytest.approx(hand, abs=1e-4)


def test_what_is_too_long_loses_its_beginning(model: Model, lm: Any) -> None:
    long = "".join(chr(97 + number * number % 26) for number in range(900))
    [(value, _)] = lm.loglikelihood([asked(long, " yes")])
    hand, _ = by_hand(model, encode(model, long)[-508:], encode(model, " yes", False))
    assert value == pytest.approx(hand, abs=1e-4)
    with pytest.raises(InputError, match="A continuation has 900 tokens; this model reads 512"):
        lm.loglikelihood([asked("a", long)])


def test_each_token_of_a_text_counts_once(model: Model, lm: Any) -> None:
    short = "The dog sleeps."
    long = "".join(chr(97 + number * number % 26) for number in range(600))
    first, second = lm.loglikelihood_rolling([asked(short), asked(long)])
    bos, ids = encode(model, ""), encode(model, long, False)
    hand, _ = by_hand(model, bos, encode(model, short, False))
    assert first == pytest.approx(hand, abs=1e-3)
    windows = [(bos, ids[:511]), (ids[88:511], ids[511:])]  # each token after as much as can be
    assert second == pytest.approx(sum(by_hand(model, *pair)[0] for pair in windows), abs=1e-3)


def test_generation_ends_where_a_task_says(model: Model, lm: Any) -> None:
    whole = model.generate(["Tea?", "The dog"], max_tokens=12)
    stop = whole[0][4]
    found = lm.generate_until(
        [
            asked("Tea?", {"until": [stop, ""], "max_gen_toks": 12, "do_sample": False}),
            asked("The dog", {"until": [], "max_gen_toks": 5, "temperature": 0.0}),
        ]
    )
    assert found == [
        whole[0].split(stop)[0],
        model.generate(["The dog"], max_tokens=5)[0],
    ]
    sampled = {"do_sample": True, "temperature": 2.0, "max_gen_toks": 8}
    one, other = lm.generate_until([asked("Tea?", sampled)] * 2)
    assert one != other
    with pytest.raises(InputError, match="A task sets num_beams"):
        lm.generate_until([asked("Tea?", {"num_beams": 4})])


def test_messages_become_what_the_model_reads(
    model: Model, lm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        model.tokenizer.hf,
        "chat_template",
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}",
        raising=False,
    )
    user = {"role": "user", "content": "Tea?"}
    begun = {"role": "assistant", "content": "Well"}
    assert lm.apply_chat_template([user]) == "<user>Tea?<assistant>"
    assert lm.apply_chat_template([user, begun], False) == "<user>Tea?<assistant>Well"


def test_a_task_in_a_file(model: Model, lm: Any, tmp_path: Path) -> None:
    right = [chosen(model, question) for question in QUESTIONS]
    right[1] = (right[1] + 1) % 3
    path = tmp_path / "choosing.yaml"
    path.write_text(yaml.safe_dump(choosing(tmp_path, right)))
    found = harness(model, [path])
    assert found["choosing"]["acc"] == pytest.approx(5 / 6)
    assert found["choosing"]["acc_stderr"] == pytest.approx((5 / 36 / 5) ** 0.5)
    assert harness(model, [path], limit=1)["choosing"]["acc"] == 1


def test_tasks_run_on_the_model_as_it_is_now(model: Model, lm: Any, tmp_path: Path) -> None:
    rows = [{"text": "The dog sleeps."}, {"text": "Tea is hot."}]
    prose = task(
        tmp_path, "prose", rows, output_type="loglikelihood_rolling", doc_to_target="{{text}}",
        doc_to_text="", metric_list=[{"metric": "byte_perplexity"}],
    )  # fmt: skip
    plain = harness(model, [prose])["prose"]["byte_perplexity"]
    texts = [encode(model, row["text"], False) for row in rows]
    told = sum(by_hand(model, encode(model, ""), ids)[0] for ids in texts)
    hand = torch.tensor(-told / sum(map(len, texts))).exp().item()
    assert plain == pytest.approx(hand, rel=1e-4)
    with model.intervene(add(torch.arange(32.0), 20.0, site="resid_post.2")):
        changed = harness(model, [prose])["prose"]["byte_perplexity"]
    assert changed != pytest.approx(plain, rel=0.01)


def test_what_is_no_task(model: Model, lm: Any) -> None:
    with pytest.raises(InputError, match="There is no task nonsense"):
        harness(model, ["nonsense"])


def test_without_the_harness_it_is_said_how_to_get_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    _known_tasks.cache_clear()
    with pytest.raises(InputError, match=r"endoscope\[harness\]"):
        harness(model, ["arc_easy"])
