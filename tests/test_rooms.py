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
    {"bench"},
    {"guard"},
    {"probes"},
    {"engine"},
    {"readouts"},
    {"activations"},
    {"artifacts"},
    {"models"},
    {"cache", "disk", "jsonl", "progress", "sha256"},
    {"errors"},
]
HEIGHT = {room: len(ORDER) - row for row, rooms in enumerate(ORDER) for room in rooms}


def files() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0]
    for module in imported(path):
        parts = module.split(".")
        if parts[0] == "endoscope" and len(parts) > 1 and parts[1] in HEIGHT:
            assert HEIGHT[parts[1]] <= HEIGHT[room], f"{room} imports {module}"


def test_every_room_has_its_place() -> None:
    rooms = {p.name for p in SOURCE.iterdir() if (p / "__init__.py").exists()}
    assert rooms <= set(HEIGHT)


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
