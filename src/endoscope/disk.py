"""What a disk says no to, and files that one process at a time may write."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from endoscope.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def says_full(error: Exception) -> bool:
    """Whether an error of the system, of safetensors or of numpy means that the disk is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    if re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # all that numpy says
        return True
    # safetensors gives the number in the text only
    found = re.search(r"\(os error (\d+)\)", str(error))
    return found is not None and int(found[1]) in _FULL


def full_disk(what: str, hint: str = "Free some space, or choose another disk.") -> InputError:
    """Return the error for a full disk.

    Args:
        what: what was not written, as a clause.
        hint: how to go on.
    """
    return InputError(f"The disk is full: {what}.", hint)


@contextmanager
def permitted(target: Path) -> Iterator[None]:
    """Turn the system's refusal to write to a place into an `InputError`."""
    try:
        yield
    except OSError as error:
        if says_full(error):
            raise _unwritten(target, None) from error
        raise InputError(
            f"{target} cannot be written: {error.strerror}.", "Choose another place."
        ) from error


def check_writable(target: Path) -> None:
    """Make the folder that something is to be written into; call it before long work.

    Raises:
        InputError: nothing may be written there.
    """
    with permitted(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def room_for(target: Path, size: int | None) -> Iterator[None]:
    """Turn a full disk into an `InputError`, beforehand if the size in bytes is known.

    Whatever else goes wrong in the block stays what it is.
    """
    if size is not None and size > _free_bytes(target):
        raise _unwritten(target, size)
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not says_full(error):
            raise
        raise _unwritten(target, size) from error


def taken(place: Path, busy: InputError) -> FileLock:
    """Return a lock file, held; the system takes it back from a process that is killed.

    Args:
        place: the lock file.
        busy: what to raise if another holds it.
    """
    lock = FileLock(place, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise busy from None
    return lock


def _unwritten(target: Path, size: int | None) -> InputError:
    needs = "was not written" if size is None else f"needs {_megabytes(size)}"
    free = _megabytes(_free_bytes(target))
    return full_disk(f"{target} {needs}, {free} are free. Nothing half-written was left")


def _free_bytes(target: Path) -> int:
    folder = next(parent for parent in target.parents if parent.is_dir())
    return shutil.disk_usage(folder).free


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
