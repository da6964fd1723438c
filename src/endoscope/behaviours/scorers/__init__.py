"""Scorers: how much of a behaviour there is in what a model does with an item.

A scorer is a file. To add one, write it after `base.Scorer` and put it into `AnyScorer`: then specs
can name its `kind`.
"""

from typing import Annotated

from pydantic import Field

from endoscope.behaviours.scorers.base import Score, Scorer
from endoscope.behaviours.scorers.check import CheckScorer
from endoscope.behaviours.scorers.choices import ChoicesScorer
from endoscope.behaviours.scorers.judge import JudgeScorer
from endoscope.behaviours.scorers.probe import ProbeScorer

AnyScorer = Annotated[
    ChoicesScorer | CheckScorer | JudgeScorer | ProbeScorer, Field(discriminator="kind")
]
"""The registry: the scorer that the `kind` in a spec means."""

__all__ = [
    "AnyScorer",
    "CheckScorer",
    "ChoicesScorer",
    "JudgeScorer",
    "ProbeScorer",
    "Score",
    "Scorer",
]
