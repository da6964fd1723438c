"""Run texts through a model and read its sites."""

from endoscope.engine.base import Capabilities, Engine
from endoscope.engine.model import Model, open

__all__ = ["Capabilities", "Engine", "Model", "open"]
