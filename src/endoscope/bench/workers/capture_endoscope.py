"""Capture with Endoscope: texts in, the rows of every token out."""

from collections.abc import Callable
from typing import Any

import torch

import endoscope
from endoscope.engine.batching import Row, pad, plan


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[torch.Tensor]], dict[str, Any]]:
    """Open the model, and work out the batches that it will make, for the others."""
    model = endoscope.open(setup["model"], dtype=setup["dtype"])
    texts, budget = setup["texts"], setup["batch_tokens"]
    layer = model.n_layers // 2 if setup["layer"] is None else setup["layer"]
    site = f"resid_post.{layer}"
    rows = [Row(encoded.ids) for encoded in model.tokenizer.encode_batch(texts)]
    padding = model.tokenizer.hf.pad_token_id or 0
    batches = []
    for batch in plan([len(row.ids) for row in rows], budget):
        ids, mask = pad([rows[index] for index in batch], padding, torch.device("cpu"))
        batches.append({"ids": ids.tolist(), "mask": mask.tolist()})
    facts = {
        "folder": str(model.loaded.folder),
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "layer": layer,
        "batches": batches,
        "tokens": sum(len(row.ids) for row in rows),
        "packages": ["endoscope", "torch", "transformers"],
    }
    return lambda: [model.capture(texts, site, batch_tokens=budget)[site]], facts
