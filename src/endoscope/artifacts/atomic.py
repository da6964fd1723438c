"""Files and folders that appear whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from endoscope.artifacts.kinds import kind_of
from endoscope.disk import permitted, room_for
from endoscope.errors import InputError

_PREFIX, _SUFFIX = ".endoscope-", ".tmp"
# What a killed process may leave behind: of ours, and what safetensors writes to first.
TEMPORARIES = (f"{_PREFIX}*{_SUFFIX}", ".tmp??????")


@contextmanager
def atomic_file(path: str | Path, *, size: int | None = None) -> Iterator[Path]:
    """Write a file so that it appears whole or not at all, replacing an older one.

    Yields the path of a temporary file beside it, to be written to. When the block ends, it is
    flushed to disk and takes the place of `path`; when the block fails or is interrupted, it is
    removed. Folders on the way are made.

    Args:
        path: where the file is to be.
        size: how many bytes it needs, if known; checked before anything is written.

    Raises:
        InputError: the disk is full, nothing may be written there, or `path` is no file.
    """
    target = Path(path).resolve()
    with permitted(target):
        if target.exists() and not target.is_file():
            raise InputError(f"{path} exists and is not a file.", "Choose another name.")
    with room_for(target, size), _sibling(target) as temporary:
        with permitted(target):
            temporary.touch()
            mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # some libraries write files that only their owner may read
        _flush(temporary)
        temporary.replace(target)
        _flush(target.parent)


def atomic_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines of text to a file, which appears whole or not at all (see `atomic_file`)."""
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@contextmanager
def atomic_folder(
    path: str | Path, *, kind: str | None = None, size: int | None = None, old: Collection[str] = ()
) -> Iterator[Path]:
    """Write a folder so that it appears whole or not at all.

    Like `atomic_file`. An older folder is replaced only if it is an artifact of the same kind. It
    steps aside under a temporary name for as long as two renames take.

    Args:
        path: where the folder is to be.
        kind: kind of artifact that may be replaced; None: nothing may.
        size: how many bytes it needs, if known; checked before anything is written.
        old: patterns of names that are not kept of the older one; all else that the new one does
            not have is, such as notes.

    Raises:
        InputError: the disk is full, nothing may be written there, or something else is there.
    """
    check_free(path, kind)
    target = Path(path).resolve()
    with room_for(target, size), _sibling(target) as temporary:
        with permitted(target):
            temporary.mkdir()
        yield temporary
        mode = temporary.stat().st_mode
        for part in (*temporary.rglob("*"), temporary):
            part.chmod(mode if part.is_dir() else mode & 0o666)
            _flush(part)
        _take_place(temporary, target, old)
        _flush(target.parent)


def check_free(path: str | Path, kind: str | None = None) -> None:
    """Refuse a place where an artifact could not be saved; call it before long work.

    Args:
        path: the folder where the artifact is to be.
        kind: kind of artifact that may be replaced there; None: nothing may.

    Raises:
        InputError: a file or another folder is there.
    """
    target = Path(path).resolve()
    file = next((one for one in target.parents if one.is_file()), None)
    if file is not None:
        raise InputError(f"{file} is a file, not a folder.", "Choose another place.")
    with permitted(target):
        if not target.exists():
            return
        if not target.is_dir():
            raise InputError(f"{path} exists and is not a folder.", "Choose another name.")
        if any(target.iterdir()) and (kind is None or kind_of(target) != kind):
            other = (
                f" and is not {'an' if kind[0] in 'aeiou' else 'a'} {kind}" if kind else " already"
            )
            raise InputError(
                f"{path} exists{other}.",
                "Choose another folder, or remove this one.",
            )


def _free_name(target: Path) -> Path:
    return target.parent / f"{_PREFIX}{uuid.uuid4().hex}{_SUFFIX}"


@contextmanager
def _sibling(target: Path) -> Iterator[Path]:
    """Yield a free name beside the target, and remove what is there in the end."""
    temporary = _free_name(target)
    with permitted(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _take_place(new: Path, target: Path, without: Collection[str]) -> None:
    if not target.exists():
        new.rename(target)
        return
    old = _free_name(target)
    try:
        target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    for part in old.iterdir():
        left = any(part.match(pattern) for pattern in without)
        if not left and not (target / part.name).exists():
            part.rename(target / part.name)
    shutil.rmtree(old)


def _flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no such thing for folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
