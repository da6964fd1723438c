"""The catalogue: a folder of cards that lives in git, and where each behaviour stands."""

from endoscope.catalogue.catalogue import Catalogue
from endoscope.catalogue.check import Checked, check
from endoscope.catalogue.entry import KIND, STAGES, Bound, Entry, record
from endoscope.catalogue.export import to_markdown, to_safetensors

__all__ = [
    "KIND",
    "STAGES",
    "Bound",
    "Catalogue",
    "Checked",
    "Entry",
    "check",
    "record",
    "to_markdown",
    "to_safetensors",
]
