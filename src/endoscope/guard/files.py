"""What the guard reads from and writes to: files by name, or streams that are open."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from endoscope.errors import InputError
from endoscope.guard.partial import Writer, permitted, resumable
from endoscope.guard.sniff import Ahead
from endoscope.sha256 import hash_file

Source = str | Path | BinaryIO | Ahead
Target = str | Path | BinaryIO


@contextmanager
def reading(source: Source) -> Iterator[Ahead]:
    """Open a file to be read; what is open already stays open.

    Raises:
        InputError: it cannot be read.
    """
    if not isinstance(source, str | Path):
        yield source if isinstance(source, Ahead) else Ahead(source)
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}.") from error
    with file:
        yield Ahead(cast(BinaryIO, file))


@contextmanager
def writing(
    source: Source, target: Target, made_from: Mapping[str, Any] | None = None
) -> Iterator[Writer]:
    """Open a file to be written; it appears when it is whole.

    Args:
        source: what the work is done on.
        target: where its result goes.
        made_from: what the result depends on, apart from the source. If it is given, work from file
            to file that was interrupted can be gone on with: the writer is a `Partial` then.

    Raises:
        InputError: it cannot be written.
    """
    if not isinstance(target, str | Path):
        yield Writer(target, "The output")
        return
    check_target(source, target)
    path = Path(target)
    if path.exists() and not path.is_file():  # a device or a pipe
        with permitted(str(path)):
            file = path.open("wb", buffering=0)
        with file:
            yield Writer(cast(BinaryIO, file), str(path))
        return
    again = made_from is not None and _is_file(source)
    content = hash_file(cast(Path, source)) if again else None
    with resumable(path, {"input": content, **(made_from or {})}, again=again) as partial:
        yield partial


def check_target(source: Source, target: str | Path) -> None:
    """Refuse a place where a result cannot be; call it before long work.

    Raises:
        InputError: its folder does not exist, or it is the source.
    """
    path = Path(target)
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} for the output.", "Make it first.")
    if path.is_dir():
        raise InputError(f"{path} is a folder.", "Give the output a name in it.")
    if _is_file(source) and path.exists() and path.samefile(cast(Path, source)):
        raise InputError(f"{path} is both input and output.", "Choose another name for the output.")


def _is_file(source: Source) -> bool:
    """Whether a source is a file that can be read again."""
    return isinstance(source, str | Path) and Path(source).is_file()
