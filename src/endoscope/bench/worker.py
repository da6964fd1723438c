"""One side of a benchmark: a warm process in an environment of its own."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

JOBS = Path(__file__).parent / "workers"
LOAD_TIMEOUT = 600.0
RUN_TIMEOUT = 1800.0


class WorkerError(Exception):
    """A side could not do its part. The message holds nothing of the texts."""


class Measurement(NamedTuple):
    """One timed repetition.

    Attributes:
        seconds: wall-clock time.
        peak_mib: the most memory the process has held so far, in MiB; None where unknown.
    """

    seconds: float
    peak_mib: float | None


class Worker:
    """A process that loads once and then repeats its work on request.

    It speaks JSON lines over pipes (`workers/serve.py` is the other end), leads a process group of
    its own, and ends when this object is closed or this process dies.

    Args:
        job: the file that does the work, see `workers/`.
        python: the interpreter to run it with; ours, unless a peer has its own environment.
    """

    def __init__(self, job: Path, python: Path | None = None) -> None:
        self.name = job.stem
        # A foreign environment sees nothing of this one, and no job's file name hides a library.
        flags = ["-P"] if python is None else ["-I"]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [str(python or sys.executable), *flags, str(JOBS / "serve.py"), str(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            start_new_session=True,
            text=True,
            encoding="utf-8",
        )
        self._replies: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def load(self, setup: dict[str, Any], timeout: float = LOAD_TIMEOUT) -> dict[str, Any]:
        """Load what the job needs and return the facts it tells about itself."""
        facts: dict[str, Any] = self._ask({"do": "load", "setup": setup}, timeout)["facts"]
        return facts

    def repeat(self, timeout: float = RUN_TIMEOUT, **how: Any) -> Measurement:
        """Do the work once; a job that can do several kinds of work is told `how`."""
        reply = self._ask({"do": "repeat", "how": how}, timeout)
        return Measurement(reply["seconds"], reply["peak_mib"])

    def result(self, timeout: float = RUN_TIMEOUT) -> Any:
        """Return what the latest repetition gave, where that is JSON."""
        return self._ask({"do": "result"}, timeout)["result"]

    def save(self, path: Path, timeout: float = RUN_TIMEOUT) -> None:
        """Write what the latest repetition gave, where that is tensors, to an `.npz` file."""
        self._ask({"do": "result", "path": str(path)}, timeout)

    def close(self) -> None:
        """End the process and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was not flushed goes nowhere
                    stream.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while reading
            for line in self._process.stdout:
                self._replies.put(line)
        self._replies.put(None)

    def _ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._replies.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise WorkerError(f"{self.name} did not answer within {timeout:g} s.") from None
        except OSError:
            line = None
        if line is None:
            raise WorkerError(self._obituary(request["do"]))
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(f"{self.name} failed: {reply['error']}")
        return reply

    def _obituary(self, do: str) -> str:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = ""
        if do == "load":  # later on, what it printed could quote the texts
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").split("\n")
            said = next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
        return f"{self.name} ended by itself ({how}){said}"


def _environment() -> dict[str, str]:
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "disabled",
    }
    return {**os.environ, **quiet}
