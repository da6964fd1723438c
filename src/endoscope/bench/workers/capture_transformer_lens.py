"""Capture with TransformerLens: one hook, stopped after its layer, no logits."""

from collections.abc import Callable
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[torch.Tensor]], dict[str, Any]]:
    """Open the model with raw weights and give it batches."""
    device, layer = setup["device"], setup["layer"]
    model = TransformerBridge.boot_transformers(
        setup["folder"], dtype=getattr(torch, setup["dtype"]), device=device
    )
    hook = f"blocks.{layer}.hook_out"
    batches = [
        (torch.tensor(batch["ids"]).to(device), torch.tensor(batch["mask"]).to(device))
        for batch in setup["batches"]
    ]

    def read(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        _, cache = model.run_with_cache(
            ids, attention_mask=mask, names_filter=[hook], stop_at_layer=layer + 1, return_type=None
        )
        value: torch.Tensor = cache[hook]
        return value

    @torch.no_grad()
    def run() -> list[torch.Tensor]:
        return [read(ids, mask) for ids, mask in batches]

    return run, {"packages": ["transformer-lens", "torch", "transformers"]}
