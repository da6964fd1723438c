"""The command as it was typed, for cards."""

import sys
from pathlib import Path
from shlex import join


def typed_command() -> str:
    """Return the command as typed, without where other things lie."""
    return join(["endoscope", *map(_shown, sys.argv[1:])])


def _shown(word: str) -> str:
    """Return a word of the command line; of an absolute path its name alone."""
    name, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    path = Path(value)
    return f"{name}{equals}{path.name if path.is_absolute() else value}"
