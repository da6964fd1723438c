"""Capture with plain transformers: `output_hidden_states=True`, one layer of it kept."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModel


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[torch.Tensor]], dict[str, Any]]:
    """Open the model and give it batches."""
    dtype, device = getattr(torch, setup["dtype"]), setup["device"]
    model = AutoModel.from_pretrained(setup["folder"], dtype=dtype).to(device).eval()
    entry = setup["layer"] + 1  # entry 0 is the embedding
    batches = [
        (torch.tensor(batch["ids"]).to(device), torch.tensor(batch["mask"]).to(device))
        for batch in setup["batches"]
    ]

    @torch.no_grad()
    def run() -> list[torch.Tensor]:
        return [
            model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
            ).hidden_states[entry]
            for ids, mask in batches
        ]

    return run, {"packages": ["torch", "transformers"]}
