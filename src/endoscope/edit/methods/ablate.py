"""Directional ablation, with a weight for every layer that is searched for."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from endoscope.edit.methods.contrasting import contrasted
from endoscope.edit.parts import Parts
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials
from endoscope.errors import InputError
from endoscope.interventions import Intervention, Scale
from endoscope.models import Site

TRIALS = 60
FRONT = 6  # trials of which it is counted what they leave
LEAST = 0.02  # weights below are not worth an intervention


class Ablate:
    """The direction in which the stream goes before it shows, taken out of what layers write.

    At `attn_out` and `mlp_out` of a layer a share of the component along one direction is removed:
    the weight of the layer, which falls off linearly on both sides of a peak. The direction is the
    difference of means at one layer, less what it has in common with the mean of all else. Which
    layer, where the peak is, how wide and how high for either kind of writer is searched for, for
    what begins least and moves least. (Arditi et al. 2024, "Refusal in language models is mediated
    by a single direction"; the search is by tree-structured Parzen estimators, Bergstra et al.
    2011.) It needs no base.
    """

    name: ClassVar[str] = "ablate"
    needs_base: ClassVar[bool] = False
    of_matrices: ClassVar[bool] = False
    constant: ClassVar[bool] = False

    def __init__(self, task: Task, trials: int = TRIALS) -> None:
        layers = range(task.model.loaded.anatomy.n_layers)
        found = contrasted(task, [Site(layer, "resid_post") for layer in layers])
        self._directions = [_direction(*found[Site(layer, "resid_post")]) for layer in layers]
        self._trials = trials

    def parts(self, settings: Mapping[str, float]) -> Parts:
        """Return the edit.

        Args:
            settings: `source`: the layer of the direction; `peak` and `width`: of the weights, in
                layers; `attention` and `mlp`: how high, 1 taking the whole component out.
        """
        direction = self._directions[int(settings["source"])]
        basis = (tuple(direction.tolist()),)
        made: list[Intervention] = []
        for layer in range(len(self._directions)):
            weight = max(0.0, 1 - abs(layer - settings["peak"]) / settings["width"])
            shares = {
                Site(layer, "attn_out"): weight * settings["attention"],
                Site(layer, "mlp_out"): weight * settings["mlp"],
            }
            made += [
                Scale(site=site, basis=basis, factor=1 - share)
                for site, share in shares.items()
                if share >= LEAST
            ]
        return Parts(interventions=tuple(made))

    def search(self, trials: Trials) -> Mapping[str, float]:
        """Return the settings that leave least of those that move what is kept little enough."""
        study = _optuna().create_study(
            directions=["minimize", "minimize"],
            sampler=_optuna().samplers.TPESampler(seed=0, multivariate=True),
        )
        last = len(self._directions) - 1

        def objective(trial: Any) -> tuple[float, float]:
            settings = {
                "source": trial.suggest_int("source", last // 4, max(1, 9 * last // 10)),
                "peak": round(trial.suggest_float("peak", last / 4, last), 2),
                "width": round(trial.suggest_float("width", 1.0, last + 1.0), 2),
                "attention": round(trial.suggest_float("attention", 0.0, 1.5), 3),
                "mlp": round(trial.suggest_float("mlp", 0.0, 1.5), 3),
            }
            trial.set_user_attr("settings", settings)
            return trials.begins(settings), trials.moved(settings)

        study.optimize(objective, n_trials=self._trials)
        tried = [(*one.values, one.user_attrs["settings"]) for one in study.trials]
        return _best(tried, trials)


def _direction(shown: Tensor, kept: Tensor) -> Tensor:
    """Return the difference of means, at right angles to the mean of what is kept, `[d_model]`."""
    mean = kept.mean(0)
    difference = shown.mean(0) - mean
    direction = difference - mean * (difference @ mean) / (mean @ mean)
    unit: Tensor = direction / direction.norm()
    return unit


def _best(tried: list[tuple[float, float, dict[str, float]]], trials: Trials) -> dict[str, float]:
    """Return the settings with which it is gone, moving least; or else what begins least.

    Of those that move as little as the budget allows, the ones that begin least are tried; then the
    others, from what moves least.
    """
    front = [one for one in tried if not any(_better(other, one) for other in tried)]
    allowed = sorted((one for one in front if one[1] <= trials.budget), key=lambda one: one[0])
    beyond = sorted((one for one in front if one[1] > trials.budget), key=lambda one: one[1])
    tried_first = sorted(allowed[:FRONT], key=lambda one: one[1])
    for _, _, settings in (*tried_first, *beyond[:FRONT]):
        if trials.is_gone(settings):
            return settings
    return (allowed or beyond)[0][2]


def _better(one: tuple[float, float, Any], other: tuple[float, float, Any]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one[:2] != other[:2]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "Searching for an ablation needs the optuna package.",
            "Run: pip install 'endoscope[edit]'",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
