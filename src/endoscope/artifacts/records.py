"""Records on disk: pydantic models as JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from endoscope.artifacts.atomic import atomic_file
from endoscope.errors import InputError

R = TypeVar("R", bound=BaseModel)


def write_record(path: str | Path, record: BaseModel) -> None:
    """Write a record as JSON, whole or not at all.

    Raises:
        InputError: the disk is full, or nothing may be written there.
    """
    content = (record.model_dump_json(indent=2) + "\n").encode()
    with atomic_file(path, size=len(content)) as temporary:
        temporary.write_bytes(content)


def read_record(kind: type[R], path: str | Path, what: str, mend: str) -> R:
    """Read what `write_record` wrote.

    Args:
        kind: what it is.
        path: the file.
        what: it is called in errors.
        mend: what to do where it is not there, or is something else.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        return kind.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).", mend) from None
    except ValidationError:
        raise InputError(f"{path} is no {what}.", mend) from None


def once(kind: type[R], path: Path, make: Callable[[], R]) -> R:
    """Return what was made before this work was cut off; or make it, and keep it."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        made = make()
        write_record(path, made)
        return made
