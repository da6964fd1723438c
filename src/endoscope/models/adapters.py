"""What PEFT calls its files and modules: the one place that knows."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from endoscope.errors import InputError

SETTINGS = "adapter_config.json"


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
