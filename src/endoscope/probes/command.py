"""The command line that makes a probe again."""

from shlex import join

from endoscope.engine import Model
from endoscope.models.loading import DTYPES
from endoscope.probes.data import ProbeData
from endoscope.probes.options import FitOptions
from endoscope.readouts import FeatureSpec, Pooling

FROM_PYTHON = "made from Python: the options are on the card, under details.options"


def command_line(
    model: Model,
    data: ProbeData,
    spec: FeatureSpec,
    pooling: Pooling | None,
    options: FitOptions,
    negative: str | None,
    held_out: ProbeData | None,
) -> str:
    """Return the command line that fits a probe and measures it again.

    Not everything that Python can ask for can be said there: some options have no place, and data
    may be other than the whole of a file. Then words say so, rather than a command for another
    probe.
    """
    said = FitOptions(head=options.head, window=options.window, fpr=options.fpr, seed=options.seed)
    files = [data.path] if held_out is None else [data.path, held_out.path]
    if options != said or None in files:
        return FROM_PYTHON
    dtype = str(model.dtype).removeprefix("torch.")
    command = ["endoscope", "probe", "fit", str(data.path), "--model", model.name]
    command += ["--adapter", model.adapter] if model.adapter else []
    command += ["--dtype", dtype] if dtype in DTYPES else []
    command += ["--sites", ",".join(map(str, spec.sites)), "--look-ahead", str(spec.look_ahead)]
    command += ["--readings", str(spec.readings), "--head", options.head]
    command += ["--window", str(options.window)] if options.head == "attention" else []
    command += ["--pooling", str(pooling)] if pooling else []
    command += ["--negative", negative] if negative else []
    command += ["--held-out", str(held_out.path)] if held_out else []
    return join([*command, "--fpr", str(options.fpr), "--seed", str(options.seed), "-o", "DIR"])
