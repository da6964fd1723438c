"""What would be said next, against the model itself, text by text."""

from pathlib import Path

import pytest
import torch
from tests.tiny import save_tiny

import endoscope
from endoscope.engine.next_tokens import next_tokens
from endoscope.errors import InputError
from endoscope.interventions import add

TEXTS = ["The sea", "x", "Once upon a time there was a much longer text than the others", "ab"]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "qwen3", "mixtral"])
def test_it_is_what_the_model_says(architecture: str, tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "tiny", architecture))
    found = next_tokens(model, TEXTS)
    assert found.shape[0] == len(TEXTS)
    for row, text in zip(found, TEXTS, strict=True):
        ids = torch.tensor([model.tokenizer.encode(text).ids], device=model.device)
        logits = model.loaded.module(input_ids=ids).logits[0, -1].float().cpu()
        torch.testing.assert_close(row, logits.log_softmax(-1), atol=1e-4, rtol=1e-4)


def test_a_model_that_is_intervened_on_is_refused(tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "tiny"))
    push = add(torch.ones(model.d_model), 1.0, site="resid_post.1")
    with model.intervene(push), pytest.raises(InputError, match="as it is"):
        next_tokens(model, TEXTS)
