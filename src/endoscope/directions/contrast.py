"""What a direction is estimated from: activations of classes that are told apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor

from endoscope.errors import InputError


@dataclass(frozen=True, eq=False)
class Contrast:
    """Activations at one site, of two classes or more.

    Attributes:
        rows: `[rows, d_model]`, float64.
        classes: `[rows]`, int64, indices into `labels`.
        units: `[rows]`, int64: what stays together when data is split and resampled: the pair, or
            else the document or its group.
        labels: names of the classes; the first is what the others are compared with.
        paired: whether every unit has rows of both of two classes.
    """

    rows: Tensor
    classes: Tensor
    units: Tensor
    labels: tuple[str, ...]
    paired: bool

    @property
    def names(self) -> list[int]:
        """The units, ascending."""
        return sorted(set(self.units.tolist()))

    def take(self, units: Sequence[int]) -> "Contrast":
        """Return the rows of some units."""
        chosen = torch.isin(self.units, torch.tensor(list(units), dtype=torch.long))
        return replace(
            self, rows=self.rows[chosen], classes=self.classes[chosen], units=self.units[chosen]
        )

    def difference(self, label: int = 1) -> Tensor:
        """Return the mean of a class less the mean of all others, `[d_model]`."""
        inside = self.classes == label
        return self.rows[inside].mean(0) - self.rows[~inside].mean(0)

    def differences(self) -> Tensor:
        """Return what each unit with rows of class 1 says of the difference, `[units, d_model]`.

        In pairs it is the difference within the pair; else that of the unit to the mean of class 0.
        """
        base = self.rows[self.classes == 0].mean(0)
        found = []
        for unit in self.names:
            mine = self.units == unit
            positive = self.rows[mine & (self.classes == 1)]
            if self.paired:
                found.append(positive.mean(0) - self.rows[mine & (self.classes == 0)].mean(0))
            elif len(positive):
                found.append(positive.mean(0) - base)
        return torch.stack(found)

    def split(self, share: float, random: Random) -> tuple["Contrast", "Contrast"]:
        """Divide the units by chance, class by class: this share of them, and the rest.

        Raises:
            InputError: there are too few for both parts to have every class.
        """
        strata: dict[int, list[int]] = {}
        for unit in self.names:
            first = 0 if self.paired else int(self.classes[self.units == unit][0])
            strata.setdefault(first, []).append(unit)
        first_part: list[int] = []
        for units in strata.values():
            random.shuffle(units)
            first_part += units[: max(1, round(share * len(units)))]
        parts = self.take(first_part), self.take(sorted(set(self.names) - set(first_part)))
        for part in parts:
            if set(part.classes.tolist()) != set(range(len(self.labels))):
                what = "pairs" if self.paired else "documents of each label"
                raise InputError(
                    f"There are too few {what} to keep some for measuring.", "Give more of them."
                )
        return parts
