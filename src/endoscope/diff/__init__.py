"""What a customisation changed: two models, and what sets them apart."""

from endoscope.diff.diffing import diff
from endoscope.diff.findings import Finding
from endoscope.diff.methods import METHODS, BlackBox
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.prompts import Prompt, read_prompts
from endoscope.diff.report import Ran, Report
from endoscope.diff.screening import Push, base_answers, pushes
from endoscope.diff.signal import Method, Sample, Seen, Signal

__all__ = [
    "METHODS",
    "BlackBox",
    "Finding",
    "Method",
    "Options",
    "Pair",
    "Prompt",
    "Push",
    "Ran",
    "Report",
    "Sample",
    "Seen",
    "Signal",
    "base_answers",
    "diff",
    "pushes",
    "read_prompts",
]
