"""Model organisms: fine-tunes of which it is known what they changed."""

from endoscope.organisms.building import KIND, build
from endoscope.organisms.rows import Row, read_rows, schedule
from endoscope.organisms.shipped import shipped_organisms
from endoscope.organisms.spec import OrganismSpec, Wanted

__all__ = [
    "KIND",
    "OrganismSpec",
    "Row",
    "Wanted",
    "build",
    "read_rows",
    "schedule",
    "shipped_organisms",
]
