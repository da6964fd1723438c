"""What a customisation changed: two models, and what sets them apart."""

from endoscope.diff.amplification import amplified
from endoscope.diff.pair import Pair
from endoscope.diff.phrases import Phrase, Read, phrases

__all__ = ["Pair", "Phrase", "Read", "amplified", "phrases"]
