"""Features brought to mean 0 and variance 1, and how a head undoes that."""

from dataclasses import dataclass

import torch
from torch import Tensor

from endoscope.logistic import Affine


@dataclass(frozen=True)
class Scaler:
    """Feature means and standard deviations, `[n_features]` each."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Scaler":
        """Measure the features `[rows, n_features]`."""
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        # A feature that never changes tells nothing: leave it at 0 rather than divide by nothing.
        return cls(mean, torch.where(deviation > 1e-6, deviation, torch.inf))

    def __call__(self, features: Tensor) -> Tensor:
        """Standardise features in place, and return them."""
        return features.sub_(self.mean).div_(self.deviation)

    def fold(self, fitted: Affine) -> tuple[Tensor, Tensor]:
        """Return weight and bias that do on raw features what these do on standardised ones."""
        return self.fold_weight(fitted.weight), fitted.bias - self.offset(fitted.weight)

    def fold_weight(self, weight: Tensor) -> Tensor:
        """Return a weight for raw features; `offset` is what it has to be lowered by."""
        return (weight.double() / self.deviation.double()).float()

    def offset(self, weight: Tensor) -> Tensor:
        """Return the product of the folded weight and the means."""
        return (self.fold_weight(weight).double() @ self.mean.double()).float()
