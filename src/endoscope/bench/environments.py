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
    if (python := _python(folder)) is None:
        raise InputError(
            f"The peers' environment {environment!r} is not installed.",
            "Run `make peers` in the project's folder, or set ENDOSCOPE_PEERS to where it is.",
        )
    return python


def vllm_python() -> Path:
    """Return the interpreter of the environment that `make vllm` makes.

    It is looked for in `.vllm` of the current folder, or in `ENDOSCOPE_VLLM`.

    Raises:
        InputError: it is not there.
    """
    if (python := _python(Path(os.environ.get("ENDOSCOPE_VLLM", ".vllm")).absolute())) is None:
        raise InputError(
            "The environment of vLLM is not installed.",
            "Run `make vllm` in the project's folder, or set ENDOSCOPE_VLLM to where it is.",
        )
    return python


def _python(folder: Path) -> Path | None:
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return python if python.is_file() else None
