"""Logits that are no numbers end their request, and no other."""

from pathlib import Path

import pytest
import torch

from endoscope import add
from tests.engine.streams import greedy
from tests.tiny import byte_tokenizer, tiny_module
from tests.vllm.conftest import Pair

AXIS = 7
HEADS = {"head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 1}


@pytest.fixture
def overflowing(tmp_path: Path) -> Path:
    """A model one of whose logits is 1e38 times what it has along an axis of its last norm.

    Along it alone that is 5.7: infinite, and no NaN anywhere. Elsewhere it is large and finite.
    """
    module = tiny_module("llama", **HEADS)
    module.model.norm.weight[AXIS] = 1.0
    module.lm_head.weight[5] = 1e38 * torch.eye(32)[AXIS]
    module.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def test_an_infinite_logit_ends_its_request_alone(overflowing: Path) -> None:
    pair = Pair(overflowing)
    push = add(torch.eye(32)[AXIS], 300, site="resid_post.2", units="absolute", positions=[9])
    requests = [greedy("pushed", (256, *range(6)), 8, {}, (push,)), greedy("plain", (256, 9, 8), 8)]
    for model in (pair.transformers, pair.vllm):
        ends = {name: step for name, step in model.engine.run(requests) if step.finish}
        assert (ends["pushed"].finish, ends["plain"].finish) == ("error", "length")
        assert ends["pushed"].error == "The model's output is not finite."
    pair.vllm.close()
