"""Steer with nnsight: a vector is added to each row of one batch at every step of `generate`."""

from collections.abc import Callable
from typing import Any

import torch
from nnsight import TransformersModel


def load(setup: dict[str, Any]) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """Open the model."""
    model = TransformersModel(
        setup["folder"],
        task="text-generation",
        dispatch=True,
        dtype=torch.float32,
        device_map="cpu",
    )
    model.generation_config.eos_token_id = None  # every side generates as many tokens
    prompts = setup["prompts"]
    longest = max(map(len, prompts))
    batch = {
        "input_ids": torch.tensor([[setup["padding"]] * (longest - len(p)) + p for p in prompts]),
        "attention_mask": torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts]),
    }
    vectors, layer, new = (
        torch.tensor(setup["vectors"])[:, None],
        setup["layer"],
        setup["new_tokens"],
    )

    @torch.no_grad()
    def run() -> dict[str, Any]:
        with model.generate(
            batch, max_new_tokens=new, do_sample=False, pad_token_id=setup["padding"]
        ) as tracer:
            for _ in tracer.iter[:new]:
                model.model.layers[layer].output = model.model.layers[layer].output + vectors
            out = tracer.result.save()
        return {"tokens": out[:, longest:].tolist()}

    return run, {"packages": ["nnsight", "torch", "transformers"]}
