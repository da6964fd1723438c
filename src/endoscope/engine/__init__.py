"""Run texts through a model, read its sites and write them."""

from endoscope.engine.base import Capabilities, Engine
from endoscope.engine.model import Model, open

__all__ = ["Capabilities", "Engine", "Model", "open"]
