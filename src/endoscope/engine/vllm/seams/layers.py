"""The places in a model: the operation of `op.py` after every block, and within if asked for."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

import endoscope.engine.vllm.op  # noqa: F401  (defines the operation)
from endoscope.engine.vllm.seams.names import BLOCKS, HIDDEN, RESIDUAL, inner
from endoscope.models.sites import Site, SiteKind

visit = torch.ops.endoscope.visit


def arm(model: nn.Module, family: str, kinds: Sequence[SiteKind]) -> list[tuple[Site, ...]]:
    """Put the operation into a model that has not run yet; return the sites at each place.

    Modules keep their names and weights and get a class of their own, so that compilers see an
    ordinary `forward`.

    Args:
        model: a causal model of vLLM.
        family: its `model_type`.
        kinds: the kinds of site that are wanted beside those between blocks.
    """
    blocks = model.get_submodule(BLOCKS)
    assert isinstance(blocks, nn.ModuleList)
    here = [number for number, block in enumerate(blocks) if _is_here(block)]
    places: list[tuple[Site, ...]] = []
    for number in here:
        block = blocks[number]
        for kind in kinds:
            if (within := inner(family, kind)) is not None:
                module = block.get_submodule(within.module)
                place = len(places)
                changed = _before(module, place, 0, 1) if within.at_input else _after(module, place)
                _replace(module, changed)
                places.append((Site(number, kind),))
        if number == 0:
            listed = list(inspect.signature(type(block).forward).parameters)[1:]
            at = listed.index(HIDDEN), listed.index(RESIDUAL)
            _replace(block, _before(block, len(places), *at))
            places.append((Site(0, "resid_pre"),))
        after = [Site(number, "resid_post")]
        if number + 1 < len(blocks):
            after.append(Site(number + 1, "resid_pre"))
        _replace(block, _after(block, len(places)))
        places.append(tuple(after))
    return places


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
