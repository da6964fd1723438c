"""The protocol against everything that a library may do to it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from endoscope.bench.worker import Worker, WorkerError

SECRET = "Harriet Blome"


@pytest.fixture
def job(tmp_path):
    def write(body: str, name: str = "job.py") -> Path:
        path = tmp_path / name
        path.write_text(dedent(body))
        return path

    return write


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and waits for its parent does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid: int, within: float = 20.0) -> bool:
    end = time.monotonic() + within
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


def test_it_loads_once_and_repeats(job):
    path = job("""
        def load(setup):
            calls = []
            def run():
                calls.append(1)
                return [setup["word"], len(calls)]
            return run, {"packages": ["numpy"], "told": 7}
    """)
    with Worker(path) as worker:
        facts = worker.load({"word": "Wort"})
        assert facts == {"told": 7, "versions": {"numpy": np.__version__}}
        first, second = worker.repeat(), worker.repeat()
        assert first.seconds >= 0
        assert second.peak_mib is None or second.peak_mib > 1
        assert worker.result() == ["Wort", 2]


def test_what_libraries_print_and_read_does_not_disturb(job):
    path = job("""
        import os, sys
        print("importing", flush=True)
        def load(setup):
            os.system("echo from a child")
            def run():
                print('{"seconds": -1}')
                sys.stdout.flush()
                os.write(1, b'{"seconds": -2}\\n')
                return sys.stdin.read()
            return run, {"packages": []}
    """)
    with Worker(path) as worker:
        worker.load({})
        assert worker.repeat().seconds >= 0
        assert worker.result() == ""


def test_tensors_come_back_as_arrays(job, tmp_path):
    path = job("""
        import torch
        def load(setup):
            ones = torch.ones(2, 3, dtype=torch.bfloat16)
            return lambda: [ones, torch.zeros(1)], {"packages": []}
    """)
    with Worker(path) as worker:
        worker.load({})
        worker.repeat()
        worker.save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert [arrays[name].shape for name in arrays.files] == [(2, 3), (1,)]


def test_an_error_while_loading_says_what_and_where(job):
    path = job("""
        import nothing_of_that_name
        def load(setup): ...
    """)
    with Worker(path) as worker, pytest.raises(WorkerError, match="nothing_of_that_name"):
        worker.load({})


def test_an_error_while_running_does_not_quote_the_text(job):
    path = job("""
        def load(setup):
            def run():
                raise ValueError(setup["text"])
            return run, {"packages": []}
    """)
    with Worker(path) as worker:
        worker.load({"text": SECRET})
        with pytest.raises(WorkerError) as caught:
            worker.repeat()
        assert SECRET not in str(caught.value)
        assert "ValueError at job.py:4" in str(caught.value)
        # The worker has survived it.
        with pytest.raises(WorkerError, match="ValueError"):
            worker.repeat()


@pytest.mark.parametrize(
    ("end", "how"),
    [("os._exit(3)", "exit code 3"), ("os.kill(os.getpid(), 9)", "SIGKILL")],
)
def test_a_crash_is_told_without_the_text(job, end, how):
    path = job(f"""
        import os, sys
        def load(setup):
            def run():
                print(setup["text"], file=sys.stderr, flush=True)
                {end}
            return run, {{"packages": []}}
    """)
    with Worker(path) as worker:
        worker.load({"text": SECRET})
        with pytest.raises(WorkerError, match=how) as caught:
            worker.repeat()
        assert SECRET not in str(caught.value)
        with pytest.raises(WorkerError):  # still, and no hang
            worker.repeat()


def test_a_crash_while_loading_gives_the_last_words(job):
    path = job("""
        import os, sys
        def load(setup):
            print("no room left for the weights", file=sys.stderr, flush=True)
            os._exit(1)
    """)
    with Worker(path) as worker, pytest.raises(WorkerError, match="no room left"):
        worker.load({})


@linux
def test_a_worker_that_hangs_is_ended_with_its_children(job, tmp_path):
    path = job("""
        import os, pathlib, subprocess, time
        def load(setup):
            def run():
                child = subprocess.Popen(["sleep", "600"])
                pathlib.Path(setup["pids"]).write_text(f"{os.getpid()} {child.pid}")
                time.sleep(600)
            return run, {"packages": []}
    """)
    pids = tmp_path / "pids"
    worker = Worker(path)
    worker.load({"pids": str(pids)})
    with pytest.raises(WorkerError, match="did not answer within"):
        worker.repeat(timeout=3)
    assert all(gone(int(pid)) for pid in pids.read_text().split())


@linux
def test_a_worker_and_its_children_end_when_its_parent_is_killed_amid_work(job, tmp_path):
    path = job("""
        import os, pathlib, subprocess, time
        def load(setup):
            def run():
                child = subprocess.Popen(["sleep", "600"])
                pathlib.Path(setup["pids"]).write_text(f"{os.getpid()} {child.pid}")
                time.sleep(600)
            return run, {"packages": []}
    """)
    pids = tmp_path / "pids"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from endoscope.bench.worker import Worker;"
            "w = Worker(pathlib.Path(sys.argv[1])); w.load({'pids': sys.argv[2]}); w.repeat()",
            str(path),
            str(pids),
        ]
    )
    end = time.monotonic() + 60
    while not (pids.exists() and pids.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    started = [int(pid) for pid in pids.read_text().split()]
    assert all(alive(pid) for pid in started)
    parent.kill()
    parent.wait()
    assert all(gone(pid) for pid in started)


def test_a_job_does_not_hide_the_library_that_it_is_named_after(job):
    path = job(
        """
        import json, sys
        def load(setup):
            return lambda: [json.__file__, sys.path], {"packages": []}
        """,
        name="json.py",
    )
    with Worker(path) as worker:
        worker.load({})
        worker.repeat()
        assert worker.result()[0] == json.__file__


def test_a_foreign_interpreter_sees_nothing_of_ours(job, tmp_path, monkeypatch):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "only_here.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "ours"))
    path = job("""
        import importlib.util
        def load(setup):
            return lambda: importlib.util.find_spec("only_here") is not None, {"packages": []}
    """)
    for python, sees in ((None, True), (Path(sys.executable), False)):
        with Worker(path, python) as worker:
            worker.load({})
            worker.repeat()
            assert worker.result() is sees


def test_closing_twice_is_fine(job):
    worker = Worker(job("def load(setup): return int, {'packages': []}"))
    pid = worker._process.pid
    worker.close()
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
