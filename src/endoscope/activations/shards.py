"""Shards: numbered safetensors files that hold whole documents."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from endoscope.activations.manifest import Shard
from endoscope.artifacts import atomic_file
from endoscope.errors import InputError

_DAMAGED = "Copy the store again, or capture again."


class StoredDocument(NamedTuple):
    """A document in a shard. Its text is known by its hash alone."""

    id: str
    rows: int
    text_sha256: str


def write_shard(
    path: Path, tensors: Mapping[str, Tensor], documents: Sequence[StoredDocument]
) -> Shard:
    """Write a shard, whole or not at all, and return its entry for the manifest.

    Raises:
        InputError: the disk is full.
    """
    size = sum(tensor.nbytes for tensor in tensors.values())
    with atomic_file(path, size=size) as temporary:
        save_file(dict(tensors), temporary, metadata={"documents": json.dumps(documents)})
    return Shard(
        file=path.name,
        rows=sum(document.rows for document in documents),
        documents=len(documents),
        bytes=path.stat().st_size,
    )


def copy_shard(folder: Path, shard: Shard, path: Path) -> Shard:
    """Copy a shard, whole or not at all, and return the copy's entry for the manifest.

    Args:
        folder: the store that it is in.
        shard: its entry there.
        path: where the copy is to be.

    Raises:
        InputError: the disk is full, or the shard is missing.
    """
    with atomic_file(path, size=shard.bytes) as temporary:
        try:
            source = (folder / shard.file).open("rb")
        except OSError as error:
            raise InputError(f"{folder / shard.file} cannot be read.", _DAMAGED) from error
        with source, temporary.open("wb") as target:
            shutil.copyfileobj(source, target)
    return shard.model_copy(update={"file": path.name})


def read_documents(folder: Path, shard: Shard) -> list[StoredDocument]:
    """Check that a shard is whole and return its documents.

    Raises:
        InputError: it is missing, truncated, or not what the manifest says.
    """
    path = folder / shard.file
    if not path.is_file():
        raise InputError(f"{path} is missing.", _DAMAGED)
    size = path.stat().st_size
    if size != shard.bytes:
        raise InputError(f"{path} is damaged: {size} bytes instead of {shard.bytes}.", _DAMAGED)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        documents = [StoredDocument(*entry) for entry in json.loads(metadata["documents"])]
        rows = sum(document.rows for document in documents)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}.", _DAMAGED) from error
    if (len(documents), rows) != (shard.documents, shard.rows):
        raise InputError(f"{path} does not hold what the manifest says.", _DAMAGED)
    return documents


def read_rows(folder: Path, shard: Shard, names: Iterable[str], rows: Tensor) -> dict[str, Tensor]:
    """Read some rows of some of a shard's tensors.

    The tensors of an open file are maps of it, so that only the pages that hold the rows are read.

    Args:
        folder: the store.
        shard: one of its shards.
        names: of the tensors.
        rows: `[n]`, positions within the shard.

    Returns:
        For each name, `[n, ...]`.

    Raises:
        InputError: the shard is missing or damaged.
    """
    path = folder / shard.file
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).index_select(0, rows) for name in names}
    except (SafetensorError, OSError, IndexError) as error:
        raise InputError(f"{path} is missing or damaged ({error}).", _DAMAGED) from error
