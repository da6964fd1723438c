"""Hooks at sites: what stands there is seen, and may be replaced for all that follows."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from endoscope.models import Anatomy, Site

Visit = Callable[[Site, Tensor], Tensor]
"""Takes the value of a site, `[rows, tokens, d_model]`, and returns what is to stand there: the
same tensor, or another one. It must not change the tensor that it is given."""


def visiting(anatomy: Anatomy, site: Site, visit: Visit) -> AbstractContextManager[Any]:
    """Return a hook (a context manager) that calls `visit` in each forward pass.

    What `visit` returns is what everything downstream of the site sees.

    Raises:
        InputError: the model has no such site.
    """
    module, side, shared = anatomy.locate(site)

    def new(value: Tensor) -> Tensor:
        written = visit(site, value)
        return value.copy_(written) if shared and written is not value else written

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (new(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": new(kwargs["hidden_states"])}

    def after(_: Any, args: tuple[Any, ...], output: Any) -> Any:
        return (new(output[0]), *output[1:]) if isinstance(output, tuple) else new(output)

    if side == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    # First of all hooks: whoever else looks on (output_hidden_states does) sees what is written.
    return module.register_forward_hook(after, prepend=True)


class PackedRows(NamedTuple):
    """Which tokens of a batch are real, whose each is, and where in its text.

    Attributes:
        slots: `[n]`; 0 is nobody.
        positions: absolute index, `[n]`.
        mask: where the rows are in the batch, `[rows, tokens]`; None: everywhere.
    """

    slots: Tensor
    positions: Tensor
    mask: Tensor | None = None

    @classmethod
    def of(cls, mask: Tensor, slots: Tensor) -> Self:
        """Say it for whole texts, padded on either side.

        Args:
            mask: 1 where there is a token, 0 where there is padding, `[rows, tokens]`.
            slots: of each text, `[rows]`.
        """
        real = mask.bool()
        positions = (mask.cumsum(1) - 1)[real]
        whose = slots[:, None].expand_as(mask)[real]
        return cls(whose, positions, None if bool(real.all()) else real)

    def pack(self, value: Tensor) -> Tensor:
        """Return the rows `[n, d_model]` of a value `[rows, tokens, d_model]`."""
        return value.flatten(0, 1) if self.mask is None else value[self.mask]

    def put(self, value: Tensor, rows: Tensor) -> Tensor:
        """Return a copy of the value with these rows in it; padding stays as it is."""
        if self.mask is None:
            return rows.view_as(value)
        written = value.clone()
        written[self.mask] = rows
        return written


def positions_of(mask: Tensor) -> Tensor | None:
    """Return position ids `[rows, tokens]` for a batch padded on the left; None: no need of them.

    Args:
        mask: 1 where there is a token, 0 where there is padding, `[rows, tokens]`.
    """
    if bool(mask[:, 0].all()):
        return None
    return (torch.arange(mask.shape[1], device=mask.device) - mask.argmax(1)[:, None]).clamp(min=0)
