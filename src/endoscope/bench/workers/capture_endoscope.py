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

    def padded(batches: list[list[int]]) -> list[dict[str, Any]]:
        made = []
        for batch in batches:
            members = [rows[index] for index in batch]
            ids, mask = pad(members, model.tokenizer.padding, torch.device("cpu"))
            made.append({"ids": ids.tolist(), "mask": mask.tolist()})
        return made

    lengths = [len(row.ids) for row in rows]
    facts = {
        "folder": str(model.loaded.folder),
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "layer": layer,
        "batches": padded(plan(lengths, budget)),
        "in_order": padded(in_order(lengths, budget)),
        "tokens": sum(lengths),
        "packages": ["endoscope", "torch", "transformers"],
    }
    return lambda: [model.capture(texts, site, batch_tokens=budget)[site]], facts


def in_order(lengths: list[int], budget: int) -> list[list[int]]:
    """Fill batches in the order of the texts, as a loop around a library would."""
    batches: list[list[int]] = [[]]
    for index, length in enumerate(lengths):
        longest = max([length, *(lengths[other] for other in batches[-1])])
        if batches[-1] and longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(index)
    return batches
