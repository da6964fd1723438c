"""Least-squares concept erasure of what tells where it shows from all else."""

from collections.abc import Mapping
from typing import ClassVar

import torch

from endoscope.directions.contrast import Contrast
from endoscope.directions.methods.leace import leace
from endoscope.edit.methods.contrasting import Contrasted, contrasted
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials
from endoscope.interventions import erase
from endoscope.models import Site


class Leace:
    """What lets a linear probe tell where it shows, erased from what layers write.

    At `attn_out` and `mlp_out` of every layer, with the factors of LEACE (Belrose et al. 2023,
    "LEACE: Perfect linear concept erasure in closed form") for what stands there in the model as it
    is: what a later layer reads has been edited too, so that all together are perfect no more. The
    strength is a share of the erasure. As weights it needs a bias at each. It needs no base.
    """

    name: ClassVar[str] = "leace"
    needs_base: ClassVar[bool] = False
    of_matrices: ClassVar[bool] = False
    constant: ClassVar[bool] = True

    def __init__(self, task: Task) -> None:
        layers = range(task.model.loaded.anatomy.n_layers)
        sites = [Site(layer, kind) for layer in layers for kind in ("attn_out", "mlp_out")]
        found = contrasted(task, sites)
        self._erasures = {site: leace(_contrast(found[site])).erasure for site in sites}

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit; its `strength` is the share of the erasure that is made, up to 1."""
        made = []
        for site, erasure in self._erasures.items():
            assert erasure is not None
            left, right, mean = erasure
            made.append(erase(settings["strength"] * left, right, mean, site=site))
        return Parts(interventions=tuple(made))

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the share."""
        return strongest(trials, 0.02, 1.0)


def _contrast(found: Contrasted) -> Contrast:
    count, others = len(found.shown), len(found.kept)
    return Contrast(
        rows=torch.cat([found.kept, found.shown]),
        classes=torch.tensor([0] * others + [1] * count),
        units=torch.arange(others + count),
        labels=("all else", "shows"),
        paired=False,
    )
