"""Specs that come with Endoscope."""

from importlib.resources import files
from pathlib import Path

_SPECS = files("endoscope.organisms") / "specs"
_BEHAVIOUR = ".behaviour"


def shipped_organisms() -> dict[str, Path]:
    """Return the specs that come with Endoscope: name to file."""
    paths = sorted(Path(str(entry)) for entry in _SPECS.iterdir())
    return {
        path.stem: path
        for path in paths
        if path.suffix == ".yaml" and not path.stem.endswith(_BEHAVIOUR)
    }
