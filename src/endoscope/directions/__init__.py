"""Directions and subspaces: estimated from contrasts, with the evidence for them."""

from endoscope.directions.contrast import Contrast
from endoscope.directions.direction import Direction
from endoscope.directions.methods import METHODS, Erasure, Estimate, Method
from endoscope.directions.similarity import similarity
from endoscope.directions.sources import (
    ContrastingTexts,
    LabelledActivations,
    LabelledSpans,
    LabelledTexts,
    Pair,
    Source,
    SystemPrompts,
    read_source,
)

__all__ = [
    "METHODS",
    "Contrast",
    "ContrastingTexts",
    "Direction",
    "Erasure",
    "Estimate",
    "LabelledActivations",
    "LabelledSpans",
    "LabelledTexts",
    "Method",
    "Pair",
    "Source",
    "SystemPrompts",
    "read_source",
    "similarity",
]
