"""Behaviours: what a model does, written down and measured."""

from endoscope.behaviours.behaviour import Behaviour, shipped_behaviours
from endoscope.behaviours.formats import FORMATS, read_format
from endoscope.behaviours.item import Item, Message
from endoscope.behaviours.measurement import Figure, ItemScore, Measurement, Tail
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
    "measure",
    "read_format",
    "shipped_behaviours",
]
