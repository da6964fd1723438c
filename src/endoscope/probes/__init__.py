"""Probes: fit, calibrate, measure, save."""

from endoscope.documents import Document, LabelledSpan, token_labels
from endoscope.probes.calibrate import (
    ece,
    fit_calibration,
    recall_at_fpr,
    threshold_at_fpr,
)
from endoscope.probes.counting import count_characters, f1, precision, recall
from endoscope.probes.data import ProbeData
from endoscope.probes.fit import fit_activations
from endoscope.probes.metrics import document_evidence, token_evidence
from endoscope.probes.options import FitOptions, Fitted
from endoscope.probes.probe import Probe
from endoscope.statistics import bootstrap_interval

__all__ = [
    "Document",
    "FitOptions",
    "Fitted",
    "LabelledSpan",
    "Probe",
    "ProbeData",
    "bootstrap_interval",
    "count_characters",
    "document_evidence",
    "ece",
    "f1",
    "fit_activations",
    "fit_calibration",
    "precision",
    "recall",
    "recall_at_fpr",
    "threshold_at_fpr",
    "token_evidence",
    "token_labels",
]
