"""Contrasts with a known answer."""

import torch
from torch import Tensor

from endoscope.directions import Contrast


def gaussian(
    n: int = 400, width: int = 12, classes: int = 2, *, paired: bool = False, seed: int = 0
) -> Contrast:
    """Correlated noise, and class c moved along axis c; in pairs, noise that a pair shares."""
    torch.manual_seed(seed)
    mix = torch.randn(width, width, dtype=torch.float64)
    labels = tuple(f"class {c}" for c in range(classes))
    which = torch.arange(n) % classes
    units = torch.arange(n) // classes if paired else torch.arange(n)
    noise = torch.randn(int(units.max()) + 1, width, dtype=torch.float64)[units] @ mix
    own = torch.randn(n, width, dtype=torch.float64)
    moved = 2 * torch.eye(width, dtype=torch.float64)[which]
    moved[which == 0] = 0
    return Contrast(noise + own + moved, which, units, labels, paired)


def accuracy_of_a_linear_probe(rows: Tensor, classes: Tensor) -> float:
    """The best that scikit-learn's logistic regression does on the rows it was fitted on."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=100.0, max_iter=2000).fit(rows.numpy(), classes.numpy())
    return float(fitted.score(rows.numpy(), classes.numpy()))
