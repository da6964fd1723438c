"""Methods: from a contrast to a direction. One file each; to add one, put it into `METHODS`."""

from endoscope.directions.methods.base import Erasure, Estimate, Method
from endoscope.directions.methods.leace import leace
from endoscope.directions.methods.logistic import logistic
from endoscope.directions.methods.mean import mean
from endoscope.directions.methods.pca import pca

METHODS: dict[str, Method] = {"mean": mean, "logistic": logistic, "pca": pca, "leace": leace}
"""By the name that cards and the command line use."""

__all__ = ["METHODS", "Erasure", "Estimate", "Method"]
