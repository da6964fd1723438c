"""Principal components of the differences within pairs."""

import torch

from endoscope.directions.contrast import Contrast
from endoscope.directions.methods.base import Estimate, towards
from endoscope.errors import InputError


def pca(contrast: Contrast, rank: int = 1) -> Estimate:
    """Return the directions along which pairs differ most.

    The differences are not centred: what all pairs have in common is what is looked for. Every
    vector points to the side of the mean difference. Zou et al. 2023, "Representation engineering:
    a top-down approach to AI transparency".
    """
    if not contrast.paired:
        raise InputError(
            "The method pca needs pairs: these are labelled documents.", "Use mean or logistic."
        )
    differences = contrast.differences()
    if not 1 <= rank <= min(differences.shape):
        raise InputError(
            f"{len(differences)} pairs have no {rank} components.",
            f"Give a rank from 1 to {min(differences.shape)}.",
        )
    basis = torch.linalg.svd(differences, full_matrices=False).Vh[:rank]
    return Estimate(towards(basis, differences.mean(0)))
