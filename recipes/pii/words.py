"""Word lists and grammars kept as text files beside the code, named by their path from here.

A file holds sections: a line `[name]`, then one entry a line. In a word list an entry line may
hold many words between ` / `. Lines that start with `# ` are comments.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def sections(file: str) -> dict[str, tuple[str, ...]]:
    """The sections of one file, each with its lines."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (FOLDER / f"{file}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            current = found.setdefault(line[1:-1], [])
        elif line and not line.startswith("# "):
            current.append(line)
    return {name: tuple(lines) for name, lines in found.items()}


@cache
def words(file: str) -> dict[str, tuple[str, ...]]:
    """The sections of one file as word lists."""
    return {
        name: tuple(w.strip() for line in lines for w in line.split(" / "))
        for name, lines in sections(file).items()
    }
