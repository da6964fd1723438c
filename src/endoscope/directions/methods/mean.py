"""Difference of means."""

from endoscope.directions.contrast import Contrast
from endoscope.directions.methods.base import Estimate, two_classes, unit


def mean(contrast: Contrast, rank: int = 1) -> Estimate:
    """Return the direction from the mean of one class to that of the other.

    Rimsky et al. 2024, "Steering Llama 2 via contrastive activation addition"; Marks & Tegmark
    2023, "The geometry of truth".
    """
    two_classes(contrast, rank, "mean")
    return Estimate(unit(contrast.difference()))
