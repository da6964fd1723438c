"""Where the programs that we are measured against are installed."""

import os
from pathlib import Path

from endoscope.errors import InputError


def peer_python(environment: str) -> Path:
    """Return the interpreter of one of the environments that `make peers` makes.

    They are looked for in `.peers` of the current folder, or in `ENDOSCOPE_PEERS`.

    Raises:
        InputError: it is not there.
    """
    folder = Path(os.environ.get("ENDOSCOPE_PEERS", ".peers")).absolute() / environment
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.is_file():
        raise InputError(
            f"The peers' environment {environment!r} is not installed.",
            "Run `make peers` in the project's folder, or set ENDOSCOPE_PEERS to where it is.",
        )
    return python
