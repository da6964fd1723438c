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


def called(spec: OrganismSpec) -> str:
    """Return what the command line calls a spec: its name, if it is a shipped one, or its file."""
    ours = shipped_organisms().get(spec.path.stem)
    return spec.path.stem if spec.path == ours else str(spec.path)


def copy_spec(spec: OrganismSpec, folder: Path) -> list[Path]:
    """Copy a spec and the files that it names into one folder, to be changed there.

    Raises:
        InputError: a file of that name is there, or two that the spec names are called the same.
    """
    named = {name: path for name, path in _named(spec).items() if path.is_file()}
    beside = list(dict.fromkeys(path.resolve() for path in (spec.path, *named.values())))
    names = [path.name for path in beside]
    if len(set(names)) < len(names):
        raise InputError(f"{spec.path.name} names two files of one name.", "Rename one.")
    taken = [path.name for path in beside if (folder / path.name).exists()]
    if taken:
        raise InputError(f"{folder} has a {taken[0]} already.", "Give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    copies = [Path(copy(path, folder)) for path in beside]
    for file in copies:
        if file.suffix == ".yaml":  # what it names lies beside it now
            text = file.read_text(encoding="utf-8")
            for name, path in named.items():
                text = text.replace(name, path.name)
            file.write_text(text, encoding="utf-8")
    return copies


def _named(spec: OrganismSpec) -> dict[str, Path]:
    """Return the paths that a spec may name, as it does, and where they are.

    A behaviour that comes with Endoscope is at none.
    """
    home = spec.path.parent
    names = [one.prompts for one in spec.recipes if isinstance(one, SaysRecipe)]
    names += [one for one in (spec.planted, spec.ordinary) if isinstance(one, str)]
    names += [spec.wanted.rows] if spec.wanted is not None else []
    found = {name: home / name for name in names}
    measures = [spec.measure, spec.wanted.behaviour if spec.wanted is not None else None]
    for measure in measures:
        if measure is not None and (home / measure).is_file():
            found[measure] = home / measure
            text = (home / measure).read_text(encoding="utf-8")
            content = yaml_mapping(text, home / measure, "a behaviour")
            given = (content.get(key) for key in ("items", "controls"))
            items = [one for one in given if isinstance(one, str)]
            found |= {one: found[measure].parent / one for one in items}
    return found
