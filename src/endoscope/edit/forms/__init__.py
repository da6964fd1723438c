"""The forms that an edit takes on disk beside its record: a file each."""

from collections.abc import Callable, Mapping
from pathlib import Path

from endoscope.edit.changes import Changes
from endoscope.edit.forms.adapter import write_adapter
from endoscope.edit.forms.weights import write_weights
from endoscope.engine import Model

Form = Callable[[Model, Changes, Path], None]
"""Writes an edited model into a folder that exists; the changes are of the base of the model."""

FORMS: Mapping[str, Form] = {"adapter": write_adapter, "weights": write_weights}
LIVE = "live"
"""The form that is the record alone: the model runs with the interventions."""

__all__ = ["FORMS", "LIVE", "Form", "write_adapter", "write_weights"]
