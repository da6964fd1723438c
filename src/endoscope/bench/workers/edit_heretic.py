"""Run the command `heretic` with answers to its questions; nothing of it is imported."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any


def load(setup: dict[str, Any]) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """Prepare the command; what it prints goes to the file `log` of its folder."""
    folder = Path(setup["folder"])
    program = Path(sys.executable).with_name("heretic")
    # As in a notebook, where nobody can move a cursor, it asks for numbers and reads lines.
    asking = {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "HF_DATASETS_CACHE": str(folder / "cache")}

    def run() -> dict[str, Any]:
        started = datetime.now()
        with (folder / "log").open("w", encoding="utf-8") as log:
            ended = subprocess.run(
                [sys.executable, "-I", str(program)],
                input=setup["answers"],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **asking, **setup["environment"]},
                encoding="utf-8",
            )
        return {"started": started.isoformat(), "exit_code": ended.returncode}

    return run, {"packages": ["heretic-llm", "optuna", "torch", "transformers"]}
