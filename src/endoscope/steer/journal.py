"""Cells on disk as soon as they are measured, so that long work goes on where it was."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from endoscope.disk import permitted, taken
from endoscope.errors import InputError
from endoscope.steer.cell import Cell, Place

FILE = "cells.jsonl"


class Journal:
    """The cells of a sweep: in memory, and in a file if there is one.

    The first line of the file says what was swept; each of the others is a cell.

    Args:
        path: the file; None: memory only.
        cells: those that an earlier run measured.
    """

    def __init__(self, path: Path | None = None, cells: tuple[Cell, ...] = ()) -> None:
        self._path = path
        self._cells = {cell.place: cell for cell in cells}

    @classmethod
    @contextmanager
    def open(cls, folder: Path | None, settings: Mapping[str, Any]) -> Iterator["Journal"]:
        """Begin or go on with a sweep, for as long as the block runs.

        Args:
            folder: where the file is; None: nothing is written.
            settings: all that decides what a cell is, by name.

        Raises:
            InputError: another sweep is there, or another process works there.
        """
        if folder is None:
            yield cls()
            return
        with permitted(folder):
            folder.mkdir(parents=True, exist_ok=True)
        busy = InputError(f"Another process works in {folder}.", "Wait for it to end.")
        with taken(folder / ".lock", busy):
            path = folder / FILE
            if path.exists():
                yield cls(path, _read(path, settings))
                return
            _append(path, {"settings": settings})
            yield cls(path)

    def get(self, place: Place) -> Cell | None:
        """Return the cell at a place, if it was measured."""
        return self._cells.get(place)

    def add(self, cell: Cell) -> None:
        """Keep a cell."""
        if self._path is not None:
            _append(self._path, cell.model_dump(mode="json"))
        self._cells[cell.place] = cell


def _append(path: Path, record: Mapping[str, Any]) -> None:
    with permitted(path), path.open("ab") as file:
        file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, settings: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Return the cells of an earlier run, and drop a line that it was killed on."""
    hint = "Choose another folder, or remove this one."
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.splitlines()
    if not lines:
        path.unlink()
        _append(path, {"settings": settings})
        return ()
    try:
        found = json.loads(lines[0])["settings"]
        cells = tuple(Cell.model_validate_json(line) for line in lines[1:])
    except (ValueError, KeyError, TypeError, ValidationError):
        raise InputError(f"{path} is not of a sweep, or is damaged.", hint) from None
    others = sorted(key for key in {*found, *settings} if found.get(key) != settings.get(key))
    if others:
        raise InputError(
            f"{path.parent} holds a sweep with other settings: {', '.join(others)}.", hint
        )
    if len(whole) < len(content):
        with permitted(path):
            os.truncate(path, len(whole))
    return cells
