"""Specs that come with Endoscope."""

from importlib.resources import files
from pathlib import Path
from shutil import copy

from endoscope.errors import InputError
from endoscope.organisms.recipes import SaysRecipe
from endoscope.organisms.spec import OrganismSpec
from endoscope.yamls import yaml_mapping

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


def copy_spec(spec: OrganismSpec, folder: Path) -> list[Path]:
    """Copy a spec and the files that it names into a folder, to be changed there.

    Raises:
        InputError: a file of that name is there.
    """
    beside = [path for path in _named(spec) if path.is_file()]
    taken = [path.name for path in beside if (folder / path.name).exists()]
    if taken:
        raise InputError(f"{folder} has a {taken[0]} already.", "Give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(copy(path, folder)) for path in beside]


def _named(spec: OrganismSpec) -> list[Path]:
    """Return the paths that a spec may name; a behaviour that comes with Endoscope is none."""
    home = spec.path.parent
    recipes = spec.planted if isinstance(spec.planted, tuple) else (spec.planted,)
    names = [one.prompts for one in recipes if isinstance(one, SaysRecipe)]
    names += [one for one in (spec.planted, spec.ordinary) if isinstance(one, str)]
    names += [spec.wanted.rows] if spec.wanted is not None else []
    measures = [spec.measure, spec.wanted.behaviour if spec.wanted is not None else None]
    for measure in measures:
        if measure is not None and (home / measure).is_file():
            names.append(measure)
            text = (home / measure).read_text(encoding="utf-8")
            content = yaml_mapping(text, home / measure, "a behaviour")
            given = (content.get(key) for key in ("items", "controls"))
            names += [one for one in given if isinstance(one, str)]
    return [spec.path, *(home / name for name in dict.fromkeys(names))]
