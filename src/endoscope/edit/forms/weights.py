"""An edit as weights: a folder that `transformers` and vLLM load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from endoscope.edit.changes import Change, Changes
from endoscope.engine import Model
from endoscope.models import LoadedModel, load
from endoscope.models.conversion import quiet
from endoscope.models.matrices import matrix_at, untie

ROUNDED = "rounding beside the change, at most"
NOTHING = 1e-3  # of a change: rounding of float32 and less


def write_weights(model: Model, changes: Changes, folder: Path) -> Mapping[str, float]:
    """Write an edited model into a folder that exists, in the type that its weights are stored in.

    Args:
        model: that is edited; it stays as it is.
        changes: of the matrices of its base.
        folder: for the model.

    Returns:
        The share of the changes that their rounding to that type is, where it is not float32.
    """
    fresh = load(model.loaded.folder, device="cpu", dtype="auto")
    shares = [_apply(fresh.module, name, change) for name, change in changes.items()]
    with quiet():
        fresh.module.save_pretrained(folder)
        model.tokenizer.hf.save_pretrained(folder)
    lost = max(shares, default=0.0)
    return {ROUNDED: float(f"{lost:.2g}")} if lost > NOTHING else {}


def merged(model: Model, changes: Changes) -> LoadedModel:
    """Load the base of a model anew, in float32 and where the model is, and change its weights.

    Args:
        model: that is edited; it stays as it is.
        changes: of the matrices of its base.
    """
    fresh = load(model.loaded.folder, device=str(model.device), dtype="float32")
    for name, change in changes.items():
        _apply(fresh.module, name, change)
    return fresh


@torch.no_grad()
def _apply(module: Any, name: str, change: Change) -> float:
    """Change a matrix; return how large the rounding is beside what is added."""
    matrix = matrix_at(module, name)
    if matrix.table:
        untie(module)
        matrix = matrix_at(module, name)
    before, added = matrix.weight.double().cpu(), change.outer @ change.inner
    matrix.weight.copy_(before + added)
    if matrix.bias is not None and change.shift is not None:
        matrix.bias.copy_(matrix.bias.double().cpu() + change.shift)
    rounded = matrix.weight.double().cpu() - before - added
    size = float(added.norm())
    return float(rounded.norm()) / size if size > 0 else 0.0
