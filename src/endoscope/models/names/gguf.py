"""What GGUF files call the matrices of a model, and how they order the rows of them."""

from typing import Any

from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from torch import Tensor

EMBEDDING, UNEMBEDDING = "token_embd", "output"

# Rotary positions turn pairs of rows: two neighbours in llama.cpp's files of this architecture, and
# rows of the two halves of a head in transformers. Says which setting counts the heads.
_PAIRED = {"llama": {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}}


def tensor_name(architecture: str, layers: int, matrix: str) -> str | None:
    """Return what a GGUF file calls a matrix; None where it has no place for it.

    Args:
        architecture: as the file names it.
        layers: how many blocks the model has.
        matrix: its name within the model of transformers, such as `model.layers.0.mlp.down_proj`.

    Returns:
        The name without `.weight` or `.bias`, such as `blk.0.ffn_down`.
    """
    known = {name: number for number, name in MODEL_ARCH_NAMES.items()}
    found: str | None = get_tensor_name_map(known[architecture], layers).get_name(matrix)
    return found


def ordered(rows: Tensor, tensor: str, architecture: str, config: Any) -> Tensor:
    """Return the rows of a matrix, or the values of a bias, in the order that a GGUF file has.

    Args:
        rows: `[out, in]` or `[out]`.
        tensor: what the file calls the matrix.
        architecture: as the file names it.
        config: the configuration of the model of transformers.
    """
    heads = _PAIRED.get(architecture, {}).get(tensor.rpartition(".")[2])
    if heads is None:
        return rows
    halves = rows.reshape(getattr(config, heads), 2, -1, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)
