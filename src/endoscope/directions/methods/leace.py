"""Least-squares concept erasure."""

import torch
from torch.nn.functional import one_hot

from endoscope.directions.contrast import Contrast
from endoscope.directions.methods.base import Erasure, Estimate, towards
from endoscope.errors import InputError

_NOTHING = 1e-10  # of the largest eigenvalue (singular value): what is rounding and not variance


def leace(contrast: Contrast, rank: int = 1) -> Estimate:
    """Return the subspace that tells the classes apart, and the affine map that erases it.

    After the map no linear classifier finds the classes in these activations, and none that does
    this changes them less (in mean square): with `W` the inverse square root of their covariance
    `S`, and `U` an orthonormal basis of what `W S_xz` spans, where `S_xz` is their covariance with
    the classes, `P = W^-1 U U^T W`. Belrose et al. 2023, "LEACE: Perfect linear concept erasure in
    closed form", theorem 4.3. The subspace is what `S_xz` spans; its rank is that of the classes.

    With fewer rows than d_model the covariance is not known well, and the map holds for these rows
    more than for others: the card says how much is left on held-out ones.
    """
    if rank not in (1, len(contrast.labels) - 1):
        raise InputError(
            f"The method leace gives what {len(contrast.labels)} classes span, not {rank}.",
            "Leave the rank out.",
        )
    centre = contrast.rows.mean(0)
    rows = contrast.rows - centre
    classes = one_hot(contrast.classes, len(contrast.labels)).double()
    covariance = rows.T @ rows / len(rows)
    across = rows.T @ (classes - classes.mean(0)) / len(rows)

    values, vectors = torch.linalg.eigh(covariance)
    kept = values > _NOTHING * values[-1]
    root, vectors = values[kept].sqrt(), vectors[:, kept]
    whitening = vectors / root @ vectors.T
    found = torch.linalg.svd(whitening @ across, full_matrices=False)
    spanned = found.U[:, _NOTHING * found.S[0] < found.S]
    left = (vectors * root @ vectors.T @ spanned).T
    basis = torch.linalg.qr(left.T).Q.T
    if len(contrast.labels) == 2:
        basis = towards(basis, contrast.difference())
    return Estimate(basis, Erasure(left, spanned.T @ whitening, centre))
