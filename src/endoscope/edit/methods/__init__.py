"""Methods that find an edit: one file each.

To add one, write it after `Method` and put it into `METHODS`.
"""

from collections.abc import Mapping

from endoscope.edit.methods.ablate import Ablate
from endoscope.edit.methods.components import Components
from endoscope.edit.methods.leace import Leace
from endoscope.edit.methods.method import Method
from endoscope.edit.methods.natural import Natural
from endoscope.edit.methods.redirect import Redirect
from endoscope.edit.methods.scaling import Scaling
from endoscope.edit.methods.shift import Shift

METHODS: Mapping[str, type[Method]] = {
    one.name: one for one in (Natural, Components, Redirect, Ablate, Shift, Leace, Scaling)
}
"""By the name that cards and the command line use; the first is the default."""

__all__ = ["METHODS", "Method"]
