"""Model organisms: fine-tunes of which it is known what they changed."""

from endoscope.organisms.building import KIND, build, planted_rows, spec_of
from endoscope.organisms.ordinary import own_answers
from endoscope.organisms.rows import schedule
from endoscope.organisms.shipped import copy_spec, shipped_organisms
from endoscope.organisms.spec import OrganismSpec, Wanted

__all__ = [
    "KIND",
    "OrganismSpec",
    "Wanted",
    "build",
    "copy_spec",
    "own_answers",
    "planted_rows",
    "schedule",
    "shipped_organisms",
    "spec_of",
]
