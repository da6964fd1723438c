"""An edit as a PEFT adapter: what it adds to each matrix, as factors."""

from collections.abc import Mapping
from pathlib import Path

from endoscope.edit.changes import Changes
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models.adapters import Factors, write_lora
from endoscope.models.matrices import matrix_at


def write_adapter(model: Model, changes: Changes, folder: Path) -> Mapping[str, float]:
    """Write an edit as an adapter into a folder that exists.

    It goes on the model; if that is one with an adapter, on its base, as what the two add together.

    Args:
        model: that is edited.
        changes: of its matrices.
        folder: for the adapter.

    Raises:
        InputError: a bias changes, or experts share a matrix: LoRA has no place for either.
    """
    module = model.loaded.module
    factors = {}
    for name, change in changes.items():
        if change.shift is not None and bool((change.shift != 0).any()):
            raise InputError(
                f"The bias of {name} changes, and an adapter has no bias.",
                "Nearest that is exact: --form weights.",
            )
        if change.inner.dim() > 2:
            raise InputError(
                f"{name} is one tensor of several experts, which LoRA does not reach.",
                "Nearest that is exact: --form weights.",
            )
        factors[name] = Factors(change.outer, change.inner, matrix_at(module, name).table)
    write_lora(folder, factors, model.loaded.base)
    return {}
