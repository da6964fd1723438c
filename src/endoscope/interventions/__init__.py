"""Changes to activations while a model runs: one algebra, gates, positions.

`Operator` is what every engine calls. Everything else says what it is to do.
"""

from endoscope.interventions.compiled import Compiled, compile_interventions
from endoscope.interventions.gate import Gate
from endoscope.interventions.helpers import (
    ablate,
    add,
    clamp,
    clamp_feature,
    erase,
    rotate,
    scale,
)
from endoscope.interventions.lowrank import LowRank
from endoscope.interventions.operations import (
    MAX_NORMS,
    OPERATIONS,
    Ablate,
    Add,
    AnyIntervention,
    Clamp,
    ClampFeature,
    Erase,
    Intervention,
    Rotate,
    Scale,
)
from endoscope.interventions.operator import Operator
from endoscope.interventions.parsing import parse_interventions

__all__ = [
    "MAX_NORMS",
    "OPERATIONS",
    "Ablate",
    "Add",
    "AnyIntervention",
    "Clamp",
    "ClampFeature",
    "Compiled",
    "Erase",
    "Gate",
    "Intervention",
    "LowRank",
    "Operator",
    "Rotate",
    "Scale",
    "ablate",
    "add",
    "clamp",
    "clamp_feature",
    "compile_interventions",
    "erase",
    "parse_interventions",
    "rotate",
    "scale",
]
