"""What has been committed to a store, and reading it."""

from collections.abc import KeysView, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.activations.manifest import DTYPE, Manifest, Part
from endoscope.activations.memory import Activations, find_site
from endoscope.activations.shards import StoredDocument, read_documents, read_rows
from endoscope.artifacts import Fingerprint
from endoscope.errors import InputError
from endoscope.models.sites import Site


class _Index(NamedTuple):
    """The documents in the order of their rows."""

    names: list[str]
    places: dict[str, int]  # where each stands in `names`
    rows: Tensor  # [documents], how many
    first_rows: Tensor  # [documents]


class CommittedActivations:
    """The readable side of a store: committed documents, and rows numbered in their order.

    Raises:
        InputError: a shard is missing or damaged.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self._manifest = manifest
        self._documents: dict[str, StoredDocument] = {}
        for shard in manifest.shards:
            self._documents.update((d.id, d) for d in read_documents(path, shard))
        documents = len(self._documents)
        if documents != sum(shard.documents for shard in manifest.shards):
            raise InputError(f"{path} holds a document twice.", "Capture again.")
        if manifest.order is not None and sorted(manifest.order) != list(range(documents)):
            raise InputError(f"The manifest of {path} is damaged: order.", "Capture again.")

    def _add(self, manifest: Manifest, documents: dict[str, StoredDocument]) -> None:
        """Take note of what has just been committed."""
        self._manifest = manifest
        self._documents |= documents
        self.__dict__.pop("_index", None)

    @cached_property
    def _index(self) -> _Index:
        names = list(self._documents)
        places = {name: place for place, name in enumerate(names)}
        rows = torch.tensor([d.rows for d in self._documents.values()], dtype=torch.int64)
        return _Index(names, places, rows, _starts(rows))

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the model that was read."""
        return self._manifest.fingerprint

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that were read."""
        return tuple(map(Site.parse, self._manifest.sites))

    @property
    def d_model(self) -> int:
        """Width of the model."""
        return self._manifest.d_model

    @property
    def readings(self) -> int:
        """How often each text was read; the rows are of the last reading."""
        return self._manifest.readings

    @property
    def part(self) -> Part | None:
        """Which share of its data it holds; None: all of it."""
        return self._manifest.part

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is there."""
        return self._manifest.complete

    @property
    def done(self) -> KeysView[str]:
        """Ids of the committed documents, in the order of their rows."""
        return self._documents.keys()

    @property
    def order(self) -> list[str]:
        """Ids of the committed documents, in the order in which `load` returns them."""
        names, order = self._index.names, self._manifest.order
        return list(names) if order is None else [names[position] for position in order]

    def __len__(self) -> int:
        """Return the number of committed rows."""
        return sum(shard.rows for shard in self._manifest.shards)

    def __repr__(self) -> str:
        size = sum(shard.bytes for shard in self._manifest.shards)
        state = "complete" if self.complete else "incomplete"
        state += f", part {self.part}" if self.part else ""
        return (
            f"{type(self).__name__}({str(self.path)!r}, {len(self.done):,} documents, "
            f"{len(self):,} rows, {', '.join(self._manifest.sites)}, {self._manifest.dtype}, "
            f"{size / 1e6:,.1f} MB, {state})"
        )

    def rows(
        self, indices: Sequence[int] | Tensor, sites: Sequence[Site | str] | None = None
    ) -> Activations:
        """Read single rows, wherever they are, without reading the shards whole.

        Args:
            indices: `[n]`, ascending, so that the rows of a document stay together; repeats are
                allowed.
            sites: what to read; None: all sites.

        Returns:
            The rows in the order of the indices, and the documents that they are from.

        Raises:
            IndexError: there is no such row.
            ValueError: the indices are not ascending.
            InputError: a site is not in the store, or a shard is missing or damaged.
        """
        rows = torch.as_tensor(indices)
        if rows.numel() == 0:
            rows = rows.new_zeros(0, dtype=torch.int64)
        if rows.ndim != 1 or rows.is_floating_point() or rows.dtype == torch.bool:
            raise ValueError("indices must be a list of integers")
        rows = rows.to("cpu", torch.int64)
        if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= len(self)):
            raise IndexError(f"the store has {len(self)} rows")
        if bool((rows.diff() < 0).any()):
            raise ValueError("indices must be ascending: sort them")
        positions = torch.searchsorted(self._index.first_rows, rows, right=True) - 1
        present, documents = torch.unique(positions, return_inverse=True)
        return self._read(rows, documents, present.tolist(), sites)

    def document(self, name: str, sites: Sequence[Site | str] | None = None) -> Activations:
        """Read one document.

        Args:
            name: its id.
            sites: what to read; None: all sites.

        Raises:
            InputError: the document or a site is not in the store.
        """
        if name not in self._documents:
            raise InputError(f"{self.path} has no document {name!r}.")
        return self._read_documents([self._index.places[name]], sites)

    def load(self, sites: Sequence[Site | str] | None = None) -> Activations:
        """Read everything into memory, in the order given to `finish` if one was given.

        Args:
            sites: what to read; None: all sites.
        """
        order = self._manifest.order
        return self._read_documents(range(len(self.done)) if order is None else order, sites)

    def _read_documents(
        self, positions: Sequence[int], sites: Sequence[Site | str] | None
    ) -> Activations:
        chosen = torch.tensor(positions, dtype=torch.int64)
        lengths = self._index.rows[chosen]
        documents = torch.arange(len(chosen)).repeat_interleave(lengths)
        within = torch.arange(len(documents)) - _starts(lengths)[documents]
        rows = self._index.first_rows[chosen][documents] + within
        return self._read(rows, documents, positions, sites)

    def _read(
        self,
        rows: Tensor,
        documents: Tensor,
        positions: Sequence[int],
        sites: Sequence[Site | str] | None,
    ) -> Activations:
        """Read rows in any order; `documents` are theirs, as indices into `positions`."""
        chosen = [find_site(site, self.sites) for site in (self.sites if sites is None else sites)]
        out = {str(site): torch.empty(len(rows), self.d_model, dtype=DTYPE) for site in chosen}
        out["token_ids"] = torch.empty(len(rows), dtype=torch.int64)
        out["offsets"] = torch.empty(len(rows), 2, dtype=torch.int64)
        starts = _starts(torch.tensor([s.rows for s in self._manifest.shards], dtype=torch.int64))
        by_row = rows.argsort(stable=True)
        edges = [*torch.searchsorted(rows[by_row], starts).tolist(), len(rows)]
        for i, shard in enumerate(self._manifest.shards):
            where = by_row[edges[i] : edges[i + 1]]
            if len(where):
                for name, part in read_rows(self.path, shard, out, rows[where] - starts[i]).items():
                    out[name][where] = part
        return Activations(
            values={site: out[str(site)] for site in chosen},
            token_ids=out["token_ids"],
            offsets=out["offsets"],
            documents=documents,
            document_ids=[self._index.names[position] for position in positions],
            fingerprint=self.fingerprint,
        )


def _starts(lengths: Tensor) -> Tensor:
    """Return where each of several runs laid end to end starts."""
    return lengths.cumsum(0) - lengths
