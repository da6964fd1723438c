"""The places in a model: the operation of `op.py` after every block, and within if asked for."""

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

import endoscope.engine.vllm.op  # noqa: F401  (defines the operation)
from endoscope.engine.vllm.seams.names import BLOCKS, HIDDEN, RESIDUAL, inner
from endoscope.models.sites import Site, SiteKind

visit = torch.ops.endoscope.visit


class Armed(NamedTuple):
    """Where the operation is.

    Attributes:
        places: the sites at each place of the model, in order.
        here: the sites of those places that this worker has; the others are on other stages of a
            pipeline.
    """

    places: list[tuple[Site, ...]]
    here: set[Site]


def arm(
    model: nn.Module,
    family: str,
    kinds: Sequence[SiteKind],
    wanted: Collection[Site] | None = None,
) -> Armed:
    """Put the operation into a model that has not run yet.

    Modules keep their names and weights and get a class of their own, so that compilers see an
    ordinary `forward`.

    Args:
        model: a causal model of vLLM.
        family: its `model_type`.
        kinds: the kinds of site that are wanted beside those between blocks.
        wanted: the sites that matter; the operation is only where one is. None: all.
    """
    blocks = model.get_submodule(BLOCKS)
    assert isinstance(blocks, nn.ModuleList)
    armed = Armed([], set())

    def new(block: nn.Module, *sites: Site) -> int | None:
        """Count a place, unless nothing there is wanted; return its number if it is here."""
        if wanted is not None:
            sites = tuple(site for site in sites if site in wanted)
        if not sites:
            return None
        armed.places.append(sites)
        if not _is_here(block):
            return None
        armed.here.update(sites)
        return len(armed.places) - 1

    for number, block in enumerate(blocks):
        for kind in kinds:
            within = inner(family, kind)
            if within is not None and (place := new(block, Site(number, kind))) is not None:
                module = block.get_submodule(within.module)
                around = _before(module, place, 0, 1) if within.at_input else _after(module, place)
                _replace(module, around)
        if number == 0 and (place := new(block, Site(0, "resid_pre"))) is not None:
            listed = list(inspect.signature(type(block).forward).parameters)[1:]
            at = listed.index(HIDDEN), listed.index(RESIDUAL)
            _replace(block, _before(block, place, *at))
        after = [Site(number, "resid_post"), Site(number + 1, "resid_pre")]
        if (place := new(block, *after[: len(blocks) - number])) is not None:
            _replace(block, _after(block, place))
    return armed


def _is_here(block: nn.Module) -> bool:
    return any(True for _ in block.parameters())


def _replace(module: nn.Module, forward: Callable[..., Any]) -> None:
    cls = type(module)
    module.__class__ = type(
        cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__}
    )


def _after(module: nn.Module, place: int) -> Callable[..., Any]:
    inner_forward = type(module).forward

    def forward(self: nn.Module, *args: Any, **named: Any) -> Any:
        out = inner_forward(self, *args, **named)
        if isinstance(out, tuple):
            visit(out[0], out[1], place)
        else:
            visit(out, None, place)
        return out

    return forward


def _before(module: nn.Module, place: int, hidden_at: int, residual_at: int) -> Callable[..., Any]:
    inner_forward = type(module).forward

    def forward(self: nn.Module, *args: Any, **named: Any) -> Any:
        visit(args[hidden_at], args[residual_at], place)
        return inner_forward(self, *args, **named)

    return forward
