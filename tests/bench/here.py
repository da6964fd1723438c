"""A side of a benchmark in this process: to start one takes seconds, and that is tested apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from endoscope.bench.worker import Worker, WorkerError
from endoscope.bench.workers.serve import Server


class Here(Worker):
    """A worker without a process; requests and replies are JSON here too."""

    def __init__(self, job: Path, python: Path | None = None) -> None:
        assert python is None, "it has an environment of its own"
        self.name = job.stem
        self._server = Server(str(job))

    def close(self) -> None:
        """There is nothing to end."""

    def _ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        answer = self._server.answer(json.loads(json.dumps(request)))
        reply: dict[str, Any] = json.loads(json.dumps(answer))
        if "error" in reply:
            raise WorkerError(f"{self.name} failed: {reply['error']}")
        return reply


def work_here(patch: pytest.MonkeyPatch, *modules: str) -> None:
    """Have modules of the benchmarks start no processes."""
    for module in modules:
        patch.setattr(f"endoscope.bench.{module}.Worker", Here)
