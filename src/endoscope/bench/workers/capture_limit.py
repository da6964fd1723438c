"""The limit of capture: a bare forward pass through the layers that are needed, nothing else."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModel


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[torch.Tensor]], dict[str, Any]]:
    """Cut the model after the layer and give it batches."""
    dtype, device = getattr(torch, setup["dtype"]), setup["device"]
    model = AutoModel.from_pretrained(setup["folder"], dtype=dtype).to(device).eval()
    model.layers = model.layers[: setup["layer"] + 1]
    model.norm = torch.nn.Identity()
    batches = [
        (torch.tensor(batch["ids"]).to(device), torch.tensor(batch["mask"]).to(device))
        for batch in setup["batches"]
    ]

    @torch.no_grad()
    def run() -> list[torch.Tensor]:
        return [
            model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            for ids, mask in batches
        ]

    return run, {"packages": ["torch", "transformers"]}
