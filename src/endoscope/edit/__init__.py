"""Edits: what was found is changed for good, in a form that is exact, and verified."""

from endoscope.edit.changes import Change, Changes, changes_of
from endoscope.edit.edit import Edit
from endoscope.edit.forms import FORMS, LIVE

__all__ = ["FORMS", "LIVE", "Change", "Changes", "Edit", "changes_of"]
