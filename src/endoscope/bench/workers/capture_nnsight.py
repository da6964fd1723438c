"""Capture with nnsight: one layer's output saved, the trace stopped there."""

from collections.abc import Callable
from typing import Any

import torch
from nnsight import TransformersModel


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[torch.Tensor]], dict[str, Any]]:
    """Open the model and give it batches."""
    device, layer = setup["device"], setup["layer"]
    model = TransformersModel(
        setup["folder"],
        task="text-generation",
        dispatch=True,
        dtype=getattr(torch, setup["dtype"]),
        device_map=device,
    )
    batches = [
        {"input_ids": torch.tensor(batch["ids"]), "attention_mask": torch.tensor(batch["mask"])}
        for batch in setup["batches"]
    ]

    def read(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with model.trace(batch) as tracer:
            hidden: torch.Tensor = model.model.layers[layer].output.save()
            tracer.stop()
        return hidden

    @torch.no_grad()
    def run() -> list[torch.Tensor]:
        return [read(batch) for batch in batches]

    return run, {"packages": ["nnsight", "torch", "transformers"]}
