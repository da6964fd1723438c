"""An edit as weights: a folder that `transformers` and vLLM load."""

from pathlib import Path
from typing import Any

import torch

from endoscope.edit.changes import Change, Changes
from endoscope.engine import Model
from endoscope.models import LoadedModel, load
from endoscope.models.conversion import quiet
from endoscope.models.matrices import matrix_at, untie


def write_weights(model: Model, changes: Changes, folder: Path) -> None:
    """Write an edited model into a folder that exists, in the type that its weights are stored in.

    Args:
        model: that is edited; it stays as it is.
        changes: of the matrices of its base.
        folder: for the model.
    """
    fresh = merged(model, changes)
    with quiet():
        fresh.module.save_pretrained(folder)
        model.tokenizer.hf.save_pretrained(folder)


@torch.no_grad()
def merged(model: Model, changes: Changes, *, dtype: str = "auto") -> LoadedModel:
    """Load the base of a model anew, on the CPU, and change its weights.

    Args:
        model: that is edited; it stays as it is.
        changes: of the matrices of its base.
        dtype: of the weights; `auto`: as they are stored.
    """
    fresh = load(model.loaded.folder, device="cpu", dtype=dtype)
    for name, change in changes.items():
        _apply(fresh.module, name, change)
    return fresh


def _apply(module: Any, name: str, change: Change) -> None:
    matrix = matrix_at(module, name)
    if matrix.table:
        untie(module)
        matrix = matrix_at(module, name)
    added = change.outer @ change.inner
    matrix.weight.copy_(matrix.weight.double() + added.to(matrix.weight.device))
    if matrix.bias is not None and change.shift is not None:
        matrix.bias.copy_(matrix.bias.double() + change.shift)
