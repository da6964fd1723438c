"""Scoring: from values at sites to class scores. Nothing here trains anything."""

from endoscope.readouts.features import FeatureSpec
from endoscope.readouts.heads import (
    HEADS,
    AttentionHead,
    Head,
    LinearHead,
    LogisticHead,
    MassMeanHead,
    head_from_tensors,
)
from endoscope.readouts.incremental import IncrementalScorer, JointScorer, PositionScores
from endoscope.readouts.pooling import Pooling
from endoscope.readouts.readout import Readout
from endoscope.readouts.scores import Calibration, DocumentScores, TokenScores, log_odds

__all__ = [
    "HEADS",
    "AttentionHead",
    "Calibration",
    "DocumentScores",
    "FeatureSpec",
    "Head",
    "IncrementalScorer",
    "JointScorer",
    "LinearHead",
    "LogisticHead",
    "MassMeanHead",
    "Pooling",
    "PositionScores",
    "Readout",
    "TokenScores",
    "head_from_tensors",
    "log_odds",
]
