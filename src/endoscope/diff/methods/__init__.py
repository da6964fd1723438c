"""Methods of a diff: one file each.

To add one, write it after `Method` and put it into `METHODS`.
"""

from collections.abc import Mapping

from endoscope.diff.methods.amplification import Amplification
from endoscope.diff.methods.behaviours import Behaviours
from endoscope.diff.methods.blackbox import BlackBox
from endoscope.diff.methods.directions import Directions
from endoscope.diff.methods.lens import Lens
from endoscope.diff.methods.phrases import Phrases
from endoscope.diff.methods.preferences import Preferences
from endoscope.diff.methods.tone import Tone
from endoscope.diff.methods.weights import Weights
from endoscope.diff.signal import Method

METHODS: Mapping[str, Method] = {
    one.name: one
    for one in (
        Weights(),
        Lens(),
        Directions(),
        Preferences(),
        Phrases(),
        Amplification(),
        Tone(),
        Behaviours(),
    )
}
"""By the name that reports and the command line use, in the order in which they are run."""

__all__ = ["METHODS", "BlackBox"]
