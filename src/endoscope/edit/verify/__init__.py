"""Verification: whether an edit did what it was meant to, and nothing else."""

from endoscope.edit.verify.budget import Budget, Target, Wanted
from endoscope.edit.verify.keeping import Kept
from endoscope.edit.verify.subjects import Subjects
from endoscope.edit.verify.verification import Attack, Baseline, Check, Verification
from endoscope.edit.verify.verifying import Verifying

__all__ = [
    "Attack",
    "Baseline",
    "Budget",
    "Check",
    "Kept",
    "Subjects",
    "Target",
    "Verification",
    "Verifying",
    "Wanted",
]
