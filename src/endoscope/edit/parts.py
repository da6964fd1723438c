"""What an edit consists of, and a model that runs with it before it is written."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from endoscope.edit.changes import Change, Changes
from endoscope.engine import Model
from endoscope.interventions import Intervention

_NONE: Mapping[str, Change] = MappingProxyType({})


class Parts(NamedTuple):
    """What an edit does.

    Attributes:
        interventions: at sites, in order.
        changes: of matrices.
    """

    interventions: tuple[Intervention, ...] = ()
    changes: Changes = _NONE


@contextmanager
def running(model: Model, parts: Parts) -> Iterator[Model]:
    """Run a model with an edit, within a `with` block; its weights stay.

    Args:
        model: whose module is run.
        parts: of the edit; matrices have to be modules of their own (no experts that share one).
    """
    module = model.loaded.module
    handles = [
        module.get_submodule(name).register_forward_hook(_adding(change, model))
        for name, change in parts.changes.items()
    ]
    try:
        with model.intervene(*parts.interventions):
            yield model
    finally:
        for handle in handles:
            handle.remove()


def _adding(change: Change, model: Model) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    outer, inner = (one.to(model.device, model.dtype) for one in change[:2])
    shift = None if change.shift is None else change.shift.to(model.device, model.dtype)

    def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        given = args[0]
        read = given @ inner.T if given.is_floating_point() else inner.T[given]
        added = read @ outer.T
        return output + (added if shift is None else added + shift)

    return hook
