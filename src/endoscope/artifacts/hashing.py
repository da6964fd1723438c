"""Hashes of tensors, of weight files and of configurations."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from endoscope.artifacts.atomic import atomic_file
from endoscope.cache import cache_folder
from endoscope.errors import InputError

# What a configuration says about where it came from and how it is run, not about what it computes.
_VOLATILE = frozenset(
    {
        "_name_or_path",
        "name_or_path",
        "_commit_hash",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "_experts_implementation",
        "use_cache",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
    }
)
_CHUNK = 1 << 22  # values hashed at a time, so that a large embedding is not copied whole
_CACHE_FORMAT = 1


def hash_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_config(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a model configuration in canonical form.

    Entries about names, versions, dtypes and how the model is run are left out, at every depth, and
    so are entries that are None: to be unset and to be absent is the same.
    """
    return hash_bytes(json.dumps(_canonical(config), sort_keys=True).encode())


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _canonical(item)
            for key, item in value.items()
            if key not in _VOLATILE and item is not None
        }
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def hash_tensor(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's shape and values.

    Floating-point values count as float32 (float64 as itself), which holds every bfloat16 and
    float16 value exactly: a tensor and its exact copy in a wider dtype have the same hash.
    """
    widen = tensor.is_floating_point() and tensor.dtype != torch.float64
    kind = "float" if widen else str(tensor.dtype)
    digest = hashlib.sha256(f"{kind} {list(tensor.shape)}\n".encode())
    for part in torch.split(tensor.detach().reshape(-1), _CHUNK):
        values = part.cpu().float() if widen else part.cpu()
        digest.update(values.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_weights(weights: Mapping[str, Tensor] | Iterable[str | Path]) -> str:
    """Return the SHA-256 of a model's weights: names, shapes and values, in order of the names.

    Args:
        weights: safetensors files, however the tensors are spread over them, or a state dict. The
            hashes of a file's tensors are kept in the cache folder for as long as the file's size
            and time of modification stay the same.

    Raises:
        InputError: a file is missing, or is not a whole safetensors file.
    """
    if isinstance(weights, Mapping):
        hashes = _hash_each(weights)
    else:
        hashes = {}
        for path in weights:
            hashes.update(_hash_weight_file(Path(path)))
    lines = (f"{name}\0{hashes[name]}\n" for name in sorted(hashes))
    return hash_bytes("".join(lines).encode())


def _hash_each(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    # hashlib lets other threads run: as many tensors at once as there are cores.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(tensors, pool.map(hash_tensor, tensors.values()), strict=True))


def _hash_weight_file(path: Path) -> dict[str, str]:
    try:
        path = path.resolve(strict=True)
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    key = {"format": _CACHE_FORMAT, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    cache = cache_folder() / "fingerprints" / f"{hash_bytes(os.fsencode(path))[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # no cache, or a broken one
        entry = json.loads(cache.read_bytes())
        if {name: entry[name] for name in key} == key:
            return dict(entry["tensors"])
    try:
        with safe_open(path, framework="pt") as file:
            # Tensors of an open file are maps of it: nothing is read before it is hashed.
            hashes = _hash_each({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}).", "Copy or download it again."
        ) from error
    with suppress(OSError, InputError), atomic_file(cache) as temporary:  # only a convenience
        temporary.write_text(json.dumps({**key, "tensors": hashes}), encoding="utf-8")
    return hashes
