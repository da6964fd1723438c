"""Activations on disk."""

import hashlib
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from filelock import FileLock
from torch import Tensor

from endoscope.activations.committed import CommittedActivations
from endoscope.activations.manifest import DTYPE, MANIFEST_FILE, Manifest, Part
from endoscope.activations.memory import Activations
from endoscope.activations.parts import check_parts, merged
from endoscope.activations.shards import (
    StoredDocument,
    copy_shard,
    read_documents,
    write_shard,
)
from endoscope.artifacts import Fingerprint, check_model
from endoscope.artifacts.atomic import TEMPORARIES
from endoscope.disk import permitted, taken
from endoscope.errors import InputError
from endoscope.models.sites import Site
from endoscope.progress import progress as progress_bar

_LOCK_FILE = ".lock"
_MAX_DOCUMENTS = 20_000  # in a shard: their names stand in its header, which has a limit


class ActivationStore(CommittedActivations):
    """Activations in a folder: bfloat16 safetensors, and a manifest that says which of them count.

    A store is written by one process, batch by batch. A batch is gathered in memory until there is
    a shard's worth; the shard is written, then the manifest is replaced, which commits it. Whatever
    happens in between, a store opened again holds every committed document whole and once.

    Rows are numbered in the order in which documents were committed.

    Example:
        >>> with ActivationStore.create(folder, fingerprint, sites, d_model) as store:
        ...     for position in store.missing(ids, texts):
        ...         store.append(read(ids[position], texts[position]), [texts[position]])
        ...     store.finish(order=ids)
        >>> ActivationStore.open(folder).load()
    """

    def __init__(self, path: Path, manifest: Manifest, lock: FileLock | None, shard_bytes: int):
        super().__init__(path, manifest)
        self._lock = lock
        self._shard_bytes = shard_bytes
        self._pending: list[Activations] = []
        self._pending_documents: dict[str, StoredDocument] = {}

    @classmethod
    def create(
        cls,
        path: str | Path,
        fingerprint: Fingerprint,
        sites: Sequence[Site],
        d_model: int,
        *,
        readings: int = 1,
        part: Part | None = None,
        resume: bool = False,
        shard_bytes: int = 64 << 20,
    ) -> Self:
        """Make a store to append to. No other process can do so until it is closed.

        Args:
            path: the folder; new or empty.
            fingerprint: of the model that is read.
            sites: what is read, in any order.
            d_model: width of the model.
            readings: how often each text is read; the rows are of the last reading.
            part: the share of its data that it is to hold; None: all of it.
            resume: go on with the store that is there, if one is there; it must have been made
                with the same model and settings. What a killed process left half-written is
                removed.
            shard_bytes: how large a shard grows before it is committed; at most this much is read
                again after a crash.

        Raises:
            InputError: something else is there, another process is writing, or the store that is
                there cannot be resumed.
        """
        path = Path(path)
        wanted = Manifest(
            fingerprint=fingerprint,
            sites=tuple(map(str, sorted(set(sites)))),
            d_model=d_model,
            readings=readings,
            part=part,
        )
        lock = _lock(path)
        try:
            if not (path / MANIFEST_FILE).exists():
                wanted.write(path)
            elif not resume:
                raise InputError(
                    f"There is an activation store at {path}.",
                    "Resume it, or choose another folder.",
                )
            manifest = Manifest.read(path)
            _check_settings(path, manifest, wanted)
            # Data may have grown since: its hash is of what the store is to hold now.
            manifest = manifest.model_copy(update={"part": part})
            store = cls(path, manifest, lock, shard_bytes)
            store._sweep()
        except BaseException:
            lock.release()
            raise
        return store

    @classmethod
    def open(cls, path: str | Path, fingerprint: Fingerprint | None = None) -> Self:
        """Open a store to read what has been committed to it, also while another process appends.

        Args:
            path: the folder.
            fingerprint: of the model that the activations are for. A derived one is warned about.

        Raises:
            InputError: there is no store, it is damaged, or it was made with a foreign model.
        """
        path = Path(path)
        manifest = Manifest.read(path)
        if fingerprint is not None:
            check_model(manifest.fingerprint, fingerprint, f"The activation store {path}")
        return cls(path, manifest, None, 0)

    @classmethod
    def join(cls, path: str | Path, parts: Sequence[str | Path], *, progress: bool = False) -> Self:
        """Make one store of the parts that were captured of some data (`capture_to(part="1/2")`).

        What `load` returns of it is in the order of the data, as if all had been captured at once.
        Shards are copied one by one, so it needs no memory for them; what was cut off goes on when
        it is called again. The parts are left as they are.

        Args:
            path: a new folder, or one that an earlier call began.
            parts: the folders of all parts, in any order.
            progress: show a bar.

        Returns:
            The store, open for reading.

        Raises:
            InputError: one of them is no part of the same data, read from the same model at the
                same sites; or is not complete; or is there twice; or is missing. Or the folder
                holds something else, or the disk is full.

        Example:
            >>> ActivationStore.join("acts", ["acts-1", "acts-2"]).load()
        """
        stores = check_parts([cls.open(part) for part in parts])
        first = stores[0]
        with cls.create(
            path,
            first.fingerprint,
            first.sites,
            first.d_model,
            readings=first.readings,
            resume=True,
        ) as joined:
            joined._take(stores, progress)
            joined.finish(order=merged([store.order for store in stores]))
        return joined

    def missing(self, ids: Sequence[str], texts: Sequence[str]) -> list[int]:
        """Return the positions of the documents that are still to be captured.

        Args:
            ids: of all documents that the store is to hold.
            texts: theirs.

        Raises:
            InputError: the store was made from other data: it has a document that is not among
                these, or whose text is another one.
        """
        theirs = dict(zip(ids, texts, strict=True))
        if len(theirs) != len(ids):
            raise InputError("Two documents have the same id.", "Give each an id of its own.")
        changed = sum(
            document.id not in theirs or document.text_sha256 != _hash_text(theirs[document.id])
            for document in self._documents.values()
        )
        if changed:
            raise InputError(
                f"{self.path} was made from other data: {changed:,} of its "
                f"{len(self.done):,} documents are not in this data, or have another text there.",
                "Give the data that it was made from, or another folder.",
            )
        return [i for i, name in enumerate(ids) if name not in self._documents]

    def append(self, activations: Activations, texts: Sequence[str]) -> None:
        """Add documents. They are committed once there is a shard's worth, or by `flush`.

        Args:
            activations: one batch of whole documents, from the store's model and sites.
            texts: what was read, one for each of `document_ids`; only hashes are kept.

        Raises:
            ValueError: the activations do not fit the store, or a document is there already.
            InputError: the disk is full. What had been committed is safe.
        """
        self._check_writable()
        if set(activations.sites) != set(self.sites) or activations.d_model != self.d_model:
            raise ValueError("the activations have other sites or another d_model than the store")
        if activations.fingerprint.relation(self.fingerprint) != "same":
            raise ValueError("the activations are of another model than the store")
        if any(
            name in self._documents or name in self._pending_documents
            for name in activations.document_ids
        ):
            raise ValueError("some of the documents are in the store already")
        counts = activations.documents.bincount(minlength=len(activations.document_ids)).tolist()
        new = [
            StoredDocument(name, count, _hash_text(text))
            for name, count, text in zip(activations.document_ids, counts, texts, strict=True)
        ]
        self._pending.append(_on_disk(activations))
        self._pending_documents.update((document.id, document) for document in new)
        size = sum(part.nbytes for part in self._pending)
        if size >= self._shard_bytes or len(self._pending_documents) >= _MAX_DOCUMENTS:
            self.flush()

    def flush(self) -> None:
        """Commit what has been appended.

        Raises:
            InputError: the disk is full; what was to be committed is kept in memory.
        """
        self._check_writable()
        if not self._pending:
            return
        batch = Activations.concatenate(self._pending)
        tensors = {str(site): batch[site] for site in self.sites}
        tensors |= {"token_ids": batch.token_ids, "offsets": batch.offsets}
        shard = write_shard(self._free_name(), tensors, list(self._pending_documents.values()))
        shards = (*self._manifest.shards, shard)
        self._commit(shards=shards, complete=False, order=None)

    def finish(self, order: Sequence[str] | None = None) -> None:
        """Commit what has been appended and mark the store as complete.

        Args:
            order: ids of all documents in the order in which `load` is to return them; None: the
                order in which they were appended.

        Raises:
            ValueError: `order` is not the documents of the store.
        """
        self.flush()
        positions = None
        if order is not None:
            if len(order) != len(self.done) or set(order) != self.done:
                raise ValueError("order must name each document of the store once")
            positions = tuple(self._index.places[name] for name in order)
        self._commit(complete=True, order=positions)

    def close(self) -> None:
        """Commit what has been appended and let others write. Reading goes on working."""
        if self._lock is None:
            return
        try:
            self.flush()
        finally:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()  # also after an error or Ctrl-C: every batch appended is whole

    def _take(self, stores: Sequence[CommittedActivations], progress: bool) -> None:
        """Copy the shards of other stores, but those that an earlier call has copied."""
        shards = [(store.path, shard) for store in stores for shard in store._manifest.shards]
        here = self._manifest.shards
        if len(here) > len(shards) or any(
            read_documents(self.path, mine) != read_documents(folder, theirs)
            for mine, (folder, theirs) in zip(here, shards, strict=False)
        ):
            raise InputError(
                f"{self.path} holds something else than these parts.", "Choose another folder."
            )
        left = shards[len(here) :]
        with progress_bar("Copying shards", len(left), show=progress) as advance:
            for folder, shard in left:
                copied = copy_shard(folder, shard, self._free_name())
                self._pending_documents = {d.id: d for d in read_documents(self.path, copied)}
                self._commit(shards=(*self._manifest.shards, copied), complete=False, order=None)
                advance(1)

    def _commit(self, **changes: Any) -> None:
        manifest = self._manifest.model_copy(update=changes)
        manifest.write(self.path)
        # An interruption must find nothing pending that has been committed already.
        documents, self._pending, self._pending_documents = self._pending_documents, [], {}
        self._add(manifest, documents)

    def _free_name(self) -> Path:
        """Return the next shard's path. A file that is there, committed or not, stays."""
        paths = (
            self.path / f"shard-{n:06d}.safetensors" for n in count(len(self._manifest.shards))
        )
        return next(path for path in paths if not path.exists())

    def _check_writable(self) -> None:
        if self._lock is None:
            raise ValueError("the store is open for reading only; create(..., resume=True) appends")

    def _sweep(self) -> None:
        """Remove what a killed process left: half-written files and uncommitted shards."""
        committed = {shard.file for shard in self._manifest.shards}
        orphans = (p for p in self.path.glob("shard-*.safetensors") if p.name not in committed)
        halves = (path for pattern in TEMPORARIES for path in self.path.glob(pattern))
        for path in (*orphans, *halves):
            path.unlink()


def _lock(path: Path) -> FileLock:
    """Make the folder, if nothing else is there, and take the right to write to it."""
    with permitted(path):
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} exists and is not a folder.", "Choose another name.")
        path.mkdir(parents=True, exist_ok=True)
        if not (path / MANIFEST_FILE).exists() and any(
            entry.name != _LOCK_FILE and not any(map(entry.match, TEMPORARIES))
            for entry in path.iterdir()
        ):
            raise InputError(f"{path} is no activation store.", "Choose a new or empty folder.")
        busy = InputError(
            f"Another process is writing to {path}.", "Wait for it, or choose another folder."
        )
        return taken(path / _LOCK_FILE, busy)


def _check_settings(path: Path, found: Manifest, wanted: Manifest) -> None:
    if found.fingerprint.relation(wanted.fingerprint) != "same":
        raise InputError(
            f"{path} was made with another model ({found.fingerprint}) than this one "
            f"({wanted.fingerprint}).",
            "Choose another folder.",
        )
    for name in ("sites", "d_model", "readings", "part"):
        there, asked = _plain(getattr(found, name)), _plain(getattr(wanted, name))
        if there != asked:
            raise InputError(
                f"{path} was made with {name} {there}, not {asked}.",
                "Ask for the same, or choose another folder.",
            )


def _plain(setting: Any) -> str:
    if setting is None:
        return "none"
    return ", ".join(setting) if isinstance(setting, tuple) else str(setting)


def _on_disk(activations: Activations) -> Activations:
    """Copy activations to the CPU, so that what happens to them afterwards does no harm."""

    def copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
        return tensor.detach().to("cpu", dtype, copy=True)

    return Activations(
        values={site: copied(value, DTYPE) for site, value in activations.values.items()},
        token_ids=copied(activations.token_ids, torch.int64),
        offsets=copied(activations.offsets, torch.int64),
        documents=copied(activations.documents, torch.int64),
        document_ids=list(activations.document_ids),
        fingerprint=activations.fingerprint,
    )


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
