"""Steer with TransformerLens: a hook adds a vector to each row of one batch while it generates."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge


def load(setup: dict[str, Any]) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """Open the model with raw weights."""
    model = TransformerBridge.boot_transformers(setup["folder"], dtype=torch.float32, device="cpu")
    prompts = setup["prompts"]
    longest = max(map(len, prompts))
    ids = torch.tensor([[setup["padding"]] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    vectors = torch.tensor(setup["vectors"])[:, None]

    def steer(value: Tensor, hook: Any) -> Tensor:
        return value + vectors

    @torch.inference_mode()
    def run() -> dict[str, Any]:
        with model.hooks(fwd_hooks=[(f"blocks.{setup['layer']}.hook_out", steer)]):
            out = model.generate(
                ids,
                max_new_tokens=setup["new_tokens"],
                stop_at_eos=False,
                do_sample=False,
                return_type="tokens",
                attention_mask=mask,
                padding_side="left",
                verbose=False,
            )
        return {"tokens": out[:, longest:].tolist()}

    return run, {"packages": ["transformer-lens", "torch", "transformers"]}
