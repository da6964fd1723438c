"""Capture with interp-engine's eager backend, the one for a machine without CUDA."""

from collections.abc import Callable
from typing import Any

import torch
from interp_engine import capture, load_model


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[torch.Tensor]], dict[str, Any]]:
    """Open the model and give it batches."""
    device = setup["device"]
    model = load_model(setup["folder"], backend="eager", dtype=setup["dtype"], device=device)
    point = f"resid_post.{setup['layer']}"
    batches = [
        (torch.tensor(batch["ids"]).to(device), torch.tensor(batch["mask"]).to(device))
        for batch in setup["batches"]
    ]

    def run() -> list[torch.Tensor]:
        return [capture(model, ids, [point], attention_mask=mask)[point] for ids, mask in batches]

    return run, {"packages": ["interp-engine", "torch", "transformers"]}
