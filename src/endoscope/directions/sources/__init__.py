"""Sources: what a direction is estimated from."""

from endoscope.directions.sources.base import Source
from endoscope.directions.sources.files import read_source
from endoscope.directions.sources.labelled import LabelledActivations, LabelledTexts
from endoscope.directions.sources.prompts import SystemPrompts
from endoscope.directions.sources.spans import LabelledSpans
from endoscope.directions.sources.texts import ContrastingTexts, Pair

__all__ = [
    "ContrastingTexts",
    "LabelledActivations",
    "LabelledSpans",
    "LabelledTexts",
    "Pair",
    "Source",
    "SystemPrompts",
    "read_source",
]
