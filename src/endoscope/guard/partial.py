"""A file that is written line by line, can be interrupted, and is gone on with."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from endoscope.disk import full_disk, says_full, taken
from endoscope.errors import InputError

_SUFFIX = ".partial"


class Writer:
    """Writes bytes where they are wanted at once, and says in one line when that fails.

    Args:
        file: where to.
        name: what to call it in errors.
        again: whether work that was cut off here can be gone on with.
    """

    def __init__(self, file: BinaryIO, name: str, again: bool = False) -> None:
        self._file = file
        self._name = name
        self._again = again

    def write(self, data: bytes) -> None:
        """Write all of it, and flush.

        Raises:
            InputError: the disk is full, or the file cannot be written.
            BrokenPipeError: nobody reads any more.
        """
        with permitted(self._name, self._again):
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            self._file.flush()


class Partial(Writer):
    """What is done of a file.

    Attributes:
        lines: how many whole lines it has from an earlier run.
    """

    def __init__(self, path: Path, again: bool) -> None:
        self._path = path
        self.lines = _drop_torn_line(path)
        # Without a buffer, so that what could not be written is not tried again on closing.
        super().__init__(path.open("ab", buffering=0), str(path), again)

    def earlier(self) -> Iterator[bytes]:
        """Yield the lines of the earlier run."""
        with self._path.open("rb") as file:
            for _, line in zip(range(self.lines), file, strict=False):
                yield line

    def close(self, *, sync: bool = False) -> None:
        """Close, and before that wait until the disk has it if it is to be kept for good."""
        with permitted(self._name, self._again):
            if sync:
                os.fsync(self._file.fileno())
            self._file.close()


@contextmanager
def resumable(
    target: Path, made_from: Mapping[str, Any], *, again: bool = True
) -> Iterator[Partial]:
    """Write a file as `NAME.partial` and give it its name when the block ends.

    If the block fails or is killed, `NAME.partial` stays, with `NAME.partial.json` beside it, which
    says what it was being made from. When that is still the same, the next run goes on from there.
    Nobody else can write the file meanwhile.

    Args:
        target: the file.
        made_from: everything that its content depends on, as JSON.
        again: whether the same work can be begun again; if not, nothing is kept of a failed run.

    Raises:
        InputError: it cannot be written, or another process is writing it.
    """
    path = target.with_name(target.name + _SUFFIX)
    with _alone(path, target):
        yield from _resumed(path, target, made_from, again)


def _resumed(
    path: Path, target: Path, made_from: Mapping[str, Any], again: bool
) -> Iterator[Partial]:
    note = path.with_name(path.name + ".json")
    with permitted(str(path), again):
        if not again or _read(note) != made_from:
            note.unlink(missing_ok=True)
            path.write_bytes(b"")
            note.write_text(json.dumps(made_from), encoding="utf-8")
        partial = Partial(path, again)
    try:
        yield partial
    except BaseException:
        partial.close()
        if not again:
            path.unlink()
            note.unlink()
        raise
    partial.close(sync=True)
    with permitted(str(target), again):
        path.replace(target)
        note.unlink()


@contextmanager
def _alone(path: Path, target: Path) -> Iterator[None]:
    """Hold the right to write a file."""
    place = path.with_name(path.name + ".lock")
    busy = InputError(
        f"Another process is writing {target}.",
        "Wait for it, or choose another name for the output.",
    )
    with permitted(str(path)):
        lock = taken(place, busy)
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held, so that nobody takes one that goes away
            place.unlink()
        lock.release()


def _read(note: Path) -> Any:
    try:
        return json.loads(note.read_bytes())
    except (OSError, ValueError):
        return None


def _drop_torn_line(path: Path) -> int:
    """Cut off a line that was not finished; return how many whole ones there are."""
    path.touch()
    lines, whole = 0, 0
    with path.open("r+b") as file:
        for line in file:
            if line.endswith(b"\n"):
                lines += 1
                whole += len(line)
        file.truncate(whole)
    return lines


@contextmanager
def permitted(name: str, again: bool = False) -> Iterator[None]:
    """Turn the system's refusal to write into an `InputError`, but for a pipe that nobody reads.

    Args:
        name: of what is written.
        again: whether the same work goes on when it is begun again.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if says_full(error):
            then = ": it goes on where it stopped" if again else ""
            raise full_disk(
                f"{name} could not be written to its end",
                f"Free some space and run the same command again{then}.",
            ) from error
        raise InputError(f"{name} cannot be written: {error.strerror}.") from error
