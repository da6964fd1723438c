"""Behaviours: what a model does, written down and measured."""

from endoscope.behaviours.behaviour import (
    Behaviour,
    read_items,
    shipped_behaviours,
    shipped_prompts,
)
from endoscope.behaviours.formats import FORMATS, read_format
from endoscope.behaviours.item import Item, Message
from endoscope.behaviours.measurement import (
    Figure,
    ItemScore,
    Measurement,
    Tail,
    mean_evidence,
    mean_figure,
)
from endoscope.behaviours.measuring import measure

__all__ = [
    "FORMATS",
    "Behaviour",
    "Figure",
    "Item",
    "ItemScore",
    "Measurement",
    "Message",
    "Tail",
    "mean_evidence",
    "mean_figure",
    "measure",
    "read_format",
    "read_items",
    "shipped_behaviours",
    "shipped_prompts",
]
