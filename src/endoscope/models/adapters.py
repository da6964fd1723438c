"""What PEFT calls its files and modules: the one place that knows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from endoscope.errors import InputError

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (Path(folder) / SETTINGS).is_file()


def plain_weight(module: Any) -> Tensor:
    """Return the weight of a matrix without what an adapter adds, `[out, in]`, float32."""
    plain = getattr(module, "base_layer", module)
    weight: Tensor = plain.weight.float()
    return weight if isinstance(plain, nn.Linear) else weight.T


def lora_factors(module: Any) -> tuple[Tensor, Tensor] | None:
    """Return the factors `[out, r]` and `[r, in]` of what LoRA adds to a matrix; None without.

    Raises:
        InputError: what an adapter does to it is not the product of two factors.
    """
    other = hasattr(module, "base_layer") and not hasattr(module, "lora_A")
    if other or len(getattr(module, "lora_magnitude_vector", ())):
        raise InputError(
            "The adapter is no plain LoRA: what it does to a matrix cannot be read from it.",
            "Merge it into the weights, and give those.",
        )
    names = [name for name in getattr(module, "lora_A", ()) if name in module.lora_B]
    if not names:
        return None
    outer = [module.lora_B[name].weight.float() * module.scaling[name] for name in names]
    inner = [module.lora_A[name].weight.float() for name in names]
    return torch.cat(outer, dim=1), torch.cat(inner, dim=0)


class Factors(NamedTuple):
    """What an adapter adds to a matrix: `outer @ inner`.

    Attributes:
        outer: `[out, r]`.
        inner: `[r, in]`.
        table: whether the matrix is an embedding.
    """

    outer: Tensor
    inner: Tensor
    table: bool = False


def write_lora(folder: Path, factors: Mapping[str, Factors], base: str) -> None:
    """Write a PEFT adapter of plain LoRA into a folder that exists.

    Args:
        folder: for it.
        factors: by the path of the module.
        base: what the model that it goes on is opened as.
    """
    tensors = {}
    for name, (outer, inner, table) in factors.items():
        kind = "lora_embedding_{}" if table else "lora_{}.weight"
        for letter, tensor in (("A", inner), ("B", outer)):
            key = f"base_model.model.{name}.{kind.format(letter)}"
            tensors[key] = tensor.float().cpu().contiguous()
    ranks = {name: one.outer.shape[1] for name, one in factors.items()}
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "target_modules": sorted(factors),
        "r": max(ranks.values()),
        "lora_alpha": max(ranks.values()),  # the same as the rank: what is added is the product
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "lora_dropout": 0.0,
        "bias": "none",
    }
    save_file(tensors, folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
