"""`Model.divergence`, against Hugging Face's own logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny, tiny_model

import endoscope
from endoscope import InputError, add
from endoscope.engine import Model
from endoscope.models import Site

D = 32
DELTA = torch.randn(D, generator=torch.Generator().manual_seed(5))
UNIT = DELTA / DELTA.norm()
LAST = Site.parse("resid_post.2")
PROMPTS = ["The capital of France is", "x", "日本", "Once upon a time " * 4]
CONTINUATIONS = [" Paris.", "yz" * 20, "語", " there was"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return endoscope.open(save_tiny(tmp_path_factory.mktemp("model")), device="cpu")


def by_hand(model: Model, prompt: str, continuation: str, strength: float) -> float:
    """A change at the last site meets nothing but the final norm and the head."""
    before = model.tokenizer.encode(prompt).ids
    after = model.tokenizer.encode(continuation, special=False).ids
    module: Any = model.loaded.module
    ids = torch.tensor([[*before, *after]])
    plain = module(input_ids=ids).logits[0].double().softmax(-1)
    hidden = model.capture([prompt + continuation], LAST)[LAST] + strength * UNIT
    changed = module.lm_head(module.model.norm(hidden)).double().softmax(-1)
    kl = (plain * (plain.log() - changed.log())).sum(-1)
    return float(kl[len(before) - 1 : -1].sum())


@pytest.mark.parametrize("budget", [1, 4096])
def test_it_is_what_the_logits_say(model: Model, budget: int) -> None:
    with model.intervene(add(DELTA, 4, units="absolute", site=LAST)):
        found = model.divergence(PROMPTS, CONTINUATIONS, batch_tokens=budget)
    expected = [by_hand(model, *pair, 4) for pair in zip(PROMPTS, CONTINUATIONS, strict=True)]
    assert found == pytest.approx(expected, rel=1e-3)
    assert min(found) > 1e-2


def test_nothing_moves_without_interventions(model: Model) -> None:
    assert model.divergence(PROMPTS, CONTINUATIONS) == [0.0] * len(PROMPTS)
    assert model.divergence([], []) == []


def test_long_rows_are_held_in_parts(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with model.intervene(add(DELTA, 4, units="absolute", site=LAST)):
        whole = model.divergence(PROMPTS, CONTINUATIONS)
        monkeypatch.setattr("endoscope.engine.likelihood._LOGITS", 260 * 3)
        assert model.divergence(PROMPTS, CONTINUATIONS) == pytest.approx(whole, rel=1e-4)


def test_what_has_no_likelihood_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="Continuation 1 has no tokens"):
        model.divergence(["a", "b"], ["c", ""])
    with pytest.raises(InputError, match="both directions"):
        tiny_model("bert").divergence(["a"], ["b"])


def test_it_is_within_intervene(tmp_path: Path) -> None:
    """The plain side stays plain within nested blocks."""
    model = endoscope.open(save_tiny(tmp_path / "m"), device="cpu")
    push = add(DELTA, 2, units="absolute", site=LAST)
    with model.intervene(push), model.intervene(push):
        twice = model.divergence(PROMPTS[:1], CONTINUATIONS[:1])
    assert twice == pytest.approx([by_hand(model, PROMPTS[0], CONTINUATIONS[0], 4)], rel=1e-3)
