"""The forms that an edit takes on disk beside its record: a file each."""

from collections.abc import Callable, Mapping
from pathlib import Path

from endoscope.edit.changes import Changes
from endoscope.edit.forms.adapter import write_adapter
from endoscope.edit.forms.gguf import check_donor, write_gguf
from endoscope.edit.forms.weights import write_weights
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site
from endoscope.models.matrices import writers

Form = Callable[[Model, Changes, Path], Mapping[str, float]]
"""Writes an edited model into a folder that exists, and returns figures for its card.

The changes are of the base of the model.
"""

FORMS: Mapping[str, Form] = {
    "adapter": write_adapter,
    "weights": write_weights,
    "gguf": write_gguf,
}
LIVE = "live"
"""The form that is the record alone: the model runs with the interventions."""


def check_form(form: str, model: Model, *, sites: bool, constant: bool = False) -> None:
    """Refuse a form that there is not, or that has nothing to act on.

    Args:
        form: its name.
        model: that is edited.
        sites: whether the edit acts at sites, and not on matrices directly.
        constant: whether an edit that is still to be found adds a constant at `mlp_out`.

    Raises:
        InputError: says which forms there are, or which is the nearest that is exact.
    """
    if form not in (LIVE, *FORMS):
        raise InputError(f"There is no form {form!r}.", f"Choose {LIVE}, {', '.join(FORMS)}.")
    if form == LIVE and not sites:
        raise InputError(
            "The edit changes matrices, and there is nothing at a site to change live.",
            "Nearest that is exact: --form adapter.",
        )
    if form == "gguf":
        check_donor(model.loaded)
    if constant and form != LIVE:
        for matrix in writers(model.loaded, Site(0, "mlp_out")):
            if matrix.bias is None:
                raise InputError(
                    f"This method adds a constant, and {matrix.name} has no bias to hold it.",
                    "Nearest that is exact: --form live; or another method.",
                )


__all__ = ["FORMS", "LIVE", "Form", "check_form", "write_adapter", "write_gguf", "write_weights"]
