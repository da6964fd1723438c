"""Imports point down: no room imports one above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import endoscope

SOURCE = Path(endoscope.__file__).parent
# From the top down; rooms in the same row do not know each other.
ORDER = [
    {"cli"},
    {"server", "bench"},
    {"edit"},
    {"guard", "steer", "diff", "organisms"},
    {"catalogue"},
    {"behaviours"},
    {"probes", "directions"},
    {"engine"},
    {"interventions"},
    {"readouts"},
    {"activations"},
    {"artifacts"},
    {"models"},
    {"documents", "rows"},
    {
        "cache",
        "disk",
        "jsonl",
        "logistic",
        "progress",
        "sha256",
        "statistics",
        "validation",
        "yamls",
    },
    {"errors"},
]
HEIGHT = {room: len(ORDER) - row for row, rooms in enumerate(ORDER) for room in rooms}


def files() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def room_of(path: Path) -> str:
    """The folder below the package, or the module that stands beside the folders."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(source: str) -> Iterator[str]:
    """The rooms that some code imports from."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for package, _, inside in (name.partition(".") for name in names):
            room = inside.partition(".")[0]
            if package == "endoscope" and room in HEIGHT:
                yield room


def test_imports_are_seen_however_they_are_written() -> None:
    source = """
import endoscope.guard.text, os
from endoscope import jsonl, open
def late():
    from endoscope.cli.main import app
    from endoscope.errors import InputError
"""
    assert sorted(imported(source)) == ["cli", "errors", "guard", "jsonl"]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    for other in imported(path.read_text()):
        assert other == room or HEIGHT[other] < HEIGHT[room], f"{room} imports {other}"


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in files()} == set(HEIGHT)


def test_help_does_not_wait_for_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, endoscope.cli.main as m\n"
        "try: m.app(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Look inside a language model" in done.stdout
