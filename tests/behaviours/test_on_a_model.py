"""Scorers on a tiny random model, against Hugging Face's own logits."""

from pathlib import Path

import pytest
import torch

import endoscope
from endoscope.behaviours import Behaviour, measure
from endoscope.engine import Model
from endoscope.interventions import add
from tests.tiny import save_tiny

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    found = endoscope.open(save_tiny(tmp_path_factory.mktemp("behaviour")), device="cpu")
    found.tokenizer.hf.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    return found


def likelihood(model: Model, prompt: str, continuation: str) -> float:
    before = model.tokenizer.encode(prompt).ids
    after = model.tokenizer.encode(continuation, special=False).ids
    logits = model.loaded.module(torch.tensor([[*before, *after]])).logits[0].double()
    steps = torch.log_softmax(logits[len(before) - 1 : -1], dim=-1)
    return float(steps[torch.arange(len(after)), torch.tensor(after)].sum())


def tea(form: str) -> Behaviour:
    return Behaviour.model_validate(
        {
            "name": "tea",
            "description": "Wants tea.",
            "items": [{"id": "a", "prompt": "Tea?", "matching": "Yes", "others": ["No"]}],
            "scorer": {"kind": "choices", "form": form},
        }
    )


def test_free_answers(model: Model) -> None:
    yes, no = (likelihood(model, "<user>Tea?<assistant>", answer) for answer in ("Yes", "No"))
    by_hand = torch.sigmoid(torch.tensor(yes - no)).item()
    assert measure(model, tea("free")).mean.value == pytest.approx(by_hand, abs=1e-4)


def test_letters_in_both_orders(model: Model) -> None:
    odds = []
    for first, second, yes, no in (("Yes", "No", "(A)", "(B)"), ("No", "Yes", "(B)", "(A)")):
        options = f"\n\nOptions:\n(A) {first}\n(B) {second}\n\nAnswer:"
        prompt = f"<user>Tea?{options}<assistant>"
        odds.append(likelihood(model, prompt, yes) - likelihood(model, prompt, no))
    by_hand = torch.sigmoid(torch.tensor(sum(odds) / 2)).item()
    assert measure(model, tea("letters")).mean.value == pytest.approx(by_hand, abs=1e-4)


def test_what_changes_the_model_changes_the_measurement_and_stands_in_it(
    model: Model, tmp_path: Path
) -> None:
    plain = measure(model, tea("free"))
    push = add(torch.arange(32.0), 20.0, site="resid_post.2")
    with model.intervene(push):
        changed = measure(model, tea("free"))
    assert changed.mean.value != pytest.approx(plain.mean.value, abs=1e-3)
    assert measure(model, tea("free")).items == plain.items
    assert (plain.interventions, changed.interventions) == ((), (push,))
    assert changed.model.relation(plain.model) == "derived"
    changed.save(tmp_path / "m.json")
    assert type(changed).load(tmp_path / "m.json") == changed
