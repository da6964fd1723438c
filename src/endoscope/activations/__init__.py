"""Values at sites, in memory and on disk."""

from endoscope.activations.memory import Activations
from endoscope.activations.store import ActivationStore

__all__ = ["ActivationStore", "Activations"]
