"""Measure Endoscope against limits and against other programs, as ratios."""

from endoscope.bench import capture, diff, edit, guard, serve, serve_vllm
from endoscope.bench.pairs import Estimate, Pair, median_ratio, run_pairs
from endoscope.bench.results import machine, save, tables
from endoscope.bench.rows import Failure, Row
from endoscope.bench.runner import Bench, Options
from endoscope.bench.worker import Measurement, Worker, WorkerError

BENCHES: dict[str, Bench] = {
    "capture": capture.run,
    "diff": diff.run,
    "edit": edit.run,
    "guard": guard.run,
    "serve": serve.run,
}
ON_VLLM: dict[str, Bench] = {"serve": serve_vllm.run}

__all__ = [
    "BENCHES",
    "ON_VLLM",
    "Bench",
    "Estimate",
    "Failure",
    "Measurement",
    "Options",
    "Pair",
    "Row",
    "Worker",
    "WorkerError",
    "machine",
    "median_ratio",
    "run_pairs",
    "save",
    "tables",
]
