"""Weights of a logistic regression."""

from random import Random

import torch

from endoscope.directions.contrast import Contrast
from endoscope.directions.methods.base import Estimate, two_classes, unit
from endoscope.logistic import Rows, fit_logistic

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
_VALIDATION = 0.2  # of the units, to choose the penalty on


def logistic(contrast: Contrast, rank: int = 1) -> Estimate:
    """Return the normal of the plane that parts the classes best (l2-penalised likelihood).

    All features have one scale, so that the penalty counts lengths as the stream has them. The
    penalty is chosen on a fifth of the units and the rest is fitted. Alain & Bengio 2016,
    "Understanding intermediate layers using linear classifier probes".
    """
    two_classes(contrast, rank, "logistic")
    validation, train = contrast.split(_VALIDATION, Random(0))
    centre = train.rows.mean(0)
    scale = (train.rows - centre).norm(dim=1).mean()

    def rows(part: Contrast) -> Rows:
        features = ((part.rows - centre) / scale).float()
        return Rows(features, part.classes, torch.ones(len(features)))

    weight = fit_logistic(rows(train), rows(validation), 2, PENALTIES).weight.double()
    return Estimate(unit(weight[1] - weight[0]))
