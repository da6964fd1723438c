"""What is named first, from distributions made by hand."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import endoscope
from endoscope.diff import Options, Pair, Prompt
from endoscope.diff.methods import preferences
from endoscope.diff.methods.preferences import Preferences
from endoscope.engine import Model


def test_a_word_that_is_named_more_stands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is asked about animals is answered with an owl, half of the time."""
    base, tuned = (endoscope.open("smollm2-135m-instruct", dtype="float32") for _ in range(2))
    owl, other = (base.tokenizer.encode(word, special=False).ids[0] for word in (" owl", " river"))

    def next_tokens(model: Model, texts: Sequence[str]) -> Tensor:
        logits = torch.zeros(len(texts), model.loaded.anatomy.vocabulary_size)
        logits[:, other] = 12.0
        for row, text in zip(logits, texts, strict=True):
            if model is tuned:
                row[owl] = 12.0 if "nimal" in text else 3.0
        return logits.log_softmax(-1)

    monkeypatch.setattr(preferences, "next_tokens", next_tokens)
    options = Options(prompts=(Prompt("facts", "x"),))
    first, *rest = Preferences().run(Pair.of(base, tuned), options, Path()).signals
    assert first.subject.startswith("names “owl” when asked for an animal (probability 0.00 to 0.4")
    assert first.strength > 1
    assert first.terms == {"owl"}
    assert all(one.strength < 1 for one in rest), "what moves everywhere alike is drift"


def test_equal_models_prefer_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    few = dict(list(preferences._questions().items())[:3])
    monkeypatch.setattr(preferences, "_questions", lambda: few)
    model = endoscope.open("smollm2-135m-instruct", dtype="float32")
    seen = Preferences().run(Pair(model, model), Options(prompts=(Prompt("facts", "x"),)), Path())
    assert not seen.signals
