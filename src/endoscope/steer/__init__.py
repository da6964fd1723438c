"""Dose and response: what adding a direction does to a behaviour and to the text."""

from endoscope.steer.cell import Cell, Place
from endoscope.steer.points import Point
from endoscope.steer.ranges import Limits
from endoscope.steer.sweep import Sweep
from endoscope.steer.sweeping import sweep

__all__ = ["Cell", "Limits", "Place", "Point", "Sweep", "sweep"]
