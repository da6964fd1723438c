"""The names of vLLM's modules, and how values are passed between them."""

from typing import NamedTuple

from endoscope.models.anatomy import ARCHITECTURES, BLOCK, Tap
from endoscope.models.sites import SiteKind

BLOCKS = "model.layers"
"""Where the blocks are in a causal model; one that is missing on this worker has another class."""

HIDDEN, RESIDUAL = "hidden_states", "residual"
"""What blocks call what they are given, by position; the value of a site is the sum of both. Norms
that add before they norm are given the same two, and nothing else."""

FAMILIES = (
    "deepseek_v3",
    "gemma2",
    "gemma3_text",
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen3",
)
"""The architectures whose blocks pass on a sum in two parts, the only form that is known here."""

_RENAMED = {("mixtral", "mlp"): "block_sparse_moe"}


class Inner(NamedTuple):
    """Where a site lies within a block: at the output, or before a norm at its input."""

    module: str
    at_input: bool


def inner(family: str, kind: SiteKind) -> Inner | None:
    """Return where a kind of site lies within a block; None: at its edge.

    vLLM names its modules after the weights, as transformers does, so the table of architectures
    says it.
    """
    tap: Tap = ARCHITECTURES[family].taps[kind]
    if tap.module == BLOCK:
        return None
    module = _RENAMED.get((family, tap.module), tap.module)
    return Inner(module, tap.side == "input")
