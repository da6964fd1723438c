"""Generate with transformers' own `generate`, on one batch padded on the left."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM


def padded(prompts: list[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, `[batch, tokens]`."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[padding] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


def load(setup: dict[str, Any]) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """Open the model."""
    model = AutoModelForCausalLM.from_pretrained(setup["folder"], dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None  # every side generates as many tokens
    ids, mask = padded(setup["prompts"], setup["padding"])

    @torch.inference_mode()
    def run() -> dict[str, Any]:
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=setup["new_tokens"],
            do_sample=False,
            pad_token_id=setup["padding"],
        )
        return {"tokens": out[:, ids.shape[1] :].tolist()}

    return run, {"packages": ["torch", "transformers"]}
