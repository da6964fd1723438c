"""Endoscope looks inside a language model and operates on it.

Example:
    >>> import endoscope
    >>> model = endoscope.open("smollm2-135m-instruct")
    >>> acts = model.capture(["The cat sat on the mat."], "resid_post.12")
    >>> acts["resid_post.12"].shape
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from endoscope.errors import InputError

if TYPE_CHECKING:
    from endoscope.activations import Activations, ActivationStore
    from endoscope.behaviours import Behaviour, measure
    from endoscope.directions import ContrastingTexts, Direction
    from endoscope.engine import Model, open
    from endoscope.guard import Guard, Policy
    from endoscope.interventions import (
        Intervention,
        ablate,
        add,
        clamp,
        clamp_feature,
        erase,
        rotate,
        scale,
    )
    from endoscope.models import Site
    from endoscope.probes import Probe, ProbeData

__version__ = version("endoscope")

__all__ = [
    "ActivationStore",
    "Activations",
    "Behaviour",
    "ContrastingTexts",
    "Direction",
    "Guard",
    "InputError",
    "Intervention",
    "Model",
    "Policy",
    "Probe",
    "ProbeData",
    "Site",
    "__version__",
    "ablate",
    "add",
    "clamp",
    "clamp_feature",
    "erase",
    "measure",
    "open",
    "rotate",
    "scale",
]

_ROOMS = {
    "ActivationStore": "activations",
    "Activations": "activations",
    "Behaviour": "behaviours",
    "ContrastingTexts": "directions",
    "Direction": "directions",
    "Guard": "guard",
    "Intervention": "interventions",
    "Model": "engine",
    "Policy": "guard",
    "Probe": "probes",
    "ProbeData": "probes",
    "Site": "models",
    "ablate": "interventions",
    "add": "interventions",
    "clamp": "interventions",
    "clamp_feature": "interventions",
    "erase": "interventions",
    "measure": "behaviours",
    "open": "engine",
    "rotate": "interventions",
    "scale": "interventions",
}


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import; `endoscope --help` should not wait for it.
    if name not in _ROOMS:
        raise AttributeError(f"module 'endoscope' has no attribute {name!r}")
    return getattr(import_module(f"endoscope.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
