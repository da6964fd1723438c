"""A constant that is added to the stream, against the direction in which it shows."""

from collections.abc import Mapping
from typing import ClassVar

from endoscope.edit.methods.contrasting import contrasted
from endoscope.edit.methods.strongest import strongest
from endoscope.edit.parts import Parts
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials
from endoscope.interventions import Add
from endoscope.models import Site

LAYERS = (0.3, 0.5, 0.7)  # of the depth: where it is tried


class Shift:
    """The difference of means, subtracted from what one layer's MLP writes, at every token.

    (Turner et al. 2023, "Steering language models with activation engineering", and Rimsky et al.
    2024, "Steering Llama 2 via contrastive activation addition", made permanent.) As weights it
    needs a bias at the layer. It needs no base.
    """

    name: ClassVar[str] = "shift"
    needs_base: ClassVar[bool] = False
    of_matrices: ClassVar[bool] = False
    constant: ClassVar[bool] = True

    def __init__(self, task: Task) -> None:
        count = task.model.loaded.anatomy.n_layers
        layers = sorted({int(share * count) for share in LAYERS})
        found = contrasted(task, [Site(layer, "resid_post") for layer in layers])
        self._towards = {layer: found[Site(layer, "resid_post")].difference for layer in layers}

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit; `strength` is how many times the difference is taken, at `layer`."""
        layer = int(settings["layer"])
        away = -settings["strength"] * self._towards[layer]
        one = Add(
            site=Site(layer, "mlp_out"),
            vector=tuple(away.tolist()),
            strength=float(away.norm()),
            units="absolute",
        )
        return Parts(interventions=(one,))

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the layer and the strength: what leaves least, and of those what moves least."""
        found = [
            strongest(trials, 0.02, 4.0, layer=float(layer)) for layer in sorted(self._towards)
        ]
        return min(found, key=lambda one: (max(trials.left(one), trials.gone), trials.moved(one)))
