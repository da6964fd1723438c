"""The server under load, and how much memory it takes."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any


@contextmanager
def serving(options: Sequence[str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Run `endoscope serve` on a free loopback port; ends with SIGTERM, as a supervisor would."""
    command = [sys.executable, "-c", "from endoscope.cli.main import main; main()", "serve"]
    command += [*options, "--port", "0", "--json", "--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = next(line for line in process.stdout if line.startswith("{"))  # not vLLM's
            yield json.loads(ready)["url"], process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


class Memory:
    """The resident memory of a process and of those that it started, over time (Linux)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._megabytes: list[float] = []

    async def watch(self) -> None:
        """Measure once a second until cancelled."""
        while True:
            self._megabytes.append(self._now())
            await asyncio.sleep(1)

    def report(self, warm: float) -> dict[str, Any]:
        """Return what it was, in megabytes, and by how much of itself it grew once warm.

        Args:
            warm: the share of the time after which the process counts as warm.
        """
        after = self._megabytes[int(warm * len(self._megabytes)) :]
        third = max(1, len(after) // 3)
        first, last = median(after[:third]), median(after[-third:])
        return {
            "at_first": round(self._megabytes[0], 1),
            "warm": round(first, 1),
            "at_last": round(last, 1),
            "most": round(max(self._megabytes), 1),
            "growth": round(last / first - 1, 4),
        }

    def _now(self) -> float:
        pids, megabytes = [self._pid], 0.0
        while pids:
            folder = Path(f"/proc/{pids.pop()}")
            with suppress(OSError, ValueError):  # it has ended meanwhile
                lines = (folder / "status").read_text().splitlines()
                (line,) = (one for one in lines if one.startswith("VmRSS"))
                megabytes += int(line.split()[1]) / 1024
                for started in folder.glob("task/*/children"):
                    pids += map(int, started.read_text().split())
        return megabytes
