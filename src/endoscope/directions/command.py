"""The command line that makes a direction again."""

from shlex import join

from endoscope.directions.sources import Source
from endoscope.engine import Model
from endoscope.models import Site
from endoscope.models.loading import DTYPES

FROM_PYTHON = "made from Python: the settings are on the card, under details"


def command_line(
    model: Model,
    source: Source,
    site: Site,
    method: str,
    rank: int,
    held_out: Source | None,
    seed: int,
) -> str:
    """Return the command line that fits a direction and measures it again.

    Data may be other than the whole of a file; then words say so.
    """
    files = [source.path] if held_out is None else [source.path, held_out.path]
    if None in files:
        return FROM_PYTHON
    dtype = str(model.dtype).removeprefix("torch.")
    command = ["endoscope", "direction", "fit", str(source.path), "--model", model.name]
    command += ["--adapter", model.adapter] if model.adapter else []
    command += ["--dtype", dtype] if dtype in DTYPES else []
    command += ["--site", str(site), "--method", method]
    command += ["--rank", str(rank)] if rank != 1 else []
    for name, value in source.options.items():
        command += [f"--{name}", value]
    command += ["--held-out", str(files[1])] if held_out else []
    return join([*command, "--seed", str(seed), "-o", "DIRECTION"])
