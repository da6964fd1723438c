"""The child's side of a benchmark: answers requests, one JSON line each.

Runs in any Python environment and imports nothing of ours. It is started with the path of a job, a
file that defines `load(setup) -> (run, facts)`: `run()` does the work once (with arguments, if the
job can do several kinds), `facts` is JSON and names the `packages` that did it.
"""

import gc
import importlib.util
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

Reply = dict[str, Any]


def channel() -> tuple[IO[str], IO[str]]:
    """Take standard input and output for the protocol and leave libraries something harmless.

    What a library prints goes to standard error, whatever way it prints (also from C).
    """
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, replies


def import_job(path: str) -> Any:
    """Import the file at `path` under a name that shadows no library."""
    spec = importlib.util.spec_from_file_location("benchmark_job", path)
    assert spec is not None
    assert spec.loader is not None
    job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job)
    return job


def peak_mib() -> float | None:
    """Return the most memory that this process has held so far, in MiB; None where unknown."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def settle() -> None:
    """Wait for work that an accelerator still does."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.accelerator.synchronize()


def save(output: list[Any], path: str) -> None:
    """Write a list of tensors as arrays, in order."""
    import numpy

    numpy.savez(path, *[tensor.float().cpu().numpy() for tensor in output])


class Server:
    """Holds one loaded job and its latest output."""

    def __init__(self, job_path: str) -> None:
        self.job_path = job_path
        self.run: Callable[..., Any] | None = None
        self.output: Any = None

    def load(self, request: Reply) -> Reply:
        """Load the job, and give what it tells about itself."""
        self.run, facts = import_job(self.job_path).load(request["setup"])
        facts["versions"] = {name: version(name) for name in facts.pop("packages")}
        return {"facts": facts}

    def repeat(self, request: Reply) -> Reply:
        """Do the work once, timed."""
        assert self.run is not None
        self.output = None
        gc.collect()
        start = time.perf_counter()
        self.output = self.run(**request["how"])
        settle()
        return {"seconds": time.perf_counter() - start, "peak_mib": peak_mib()}

    def result(self, request: Reply) -> Reply:
        """Give the latest output, or write it to a file."""
        if "path" not in request:
            return {"result": self.output}
        save(self.output, request["path"])
        return {"result": request["path"]}

    def answer(self, request: Reply) -> Reply:
        """Do what is asked; what goes wrong is an answer too."""
        do = request["do"]
        handlers = {"load": self.load, "repeat": self.repeat, "result": self.result}
        try:
            return handlers[do](request)
        except Exception as error:
            # Once texts are being read, a message could quote them: the place must do.
            where = error.__traceback__
            assert where is not None
            while where.tb_next is not None:
                where = where.tb_next
            place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}"
            said = f" ({error})" if do == "load" else ""
            return {"error": f"{type(error).__name__} at {place}{said}"}


def follow(requests: IO[str], waiting: "queue.SimpleQueue[Reply]") -> None:
    """Pass requests on; when whoever sends them is gone, end at once, also amid work.

    What the job started ends too: an engine in a process of its own would go on by itself.
    """
    for line in requests:
        waiting.put(json.loads(line))
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    """Answer requests until whoever sends them is gone."""
    requests, replies = channel()
    waiting: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    threading.Thread(target=follow, args=(requests, waiting), daemon=True).start()
    server = Server(sys.argv[1])
    while True:
        replies.write(json.dumps(server.answer(waiting.get())) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
