"""The one operation that vLLM's graphs carry: a place where rows are read and written.

For a compiler it changes its first argument in place, and what it does there is unknown. So it
stays in the graph, in order, and whatever happens at a place may change from pass to pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from endoscope.engine.vllm.board import Board
from endoscope.models.sites import Site

PLACES: list[tuple[Site, ...]] = []
"""The sites at each place, in order: what one block gives is what the next one gets."""

_board: Board | None = None

_LIBRARY: Any = torch.library.Library("endoscope", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("visit(Tensor(a!) hidden, Tensor? residual, int place) -> ()")


def install(board: Board, places: Sequence[tuple[Site, ...]]) -> None:
    """Let a board decide what happens, at places that are counted in this order.

    Raises:
        RuntimeError: another model has places in this process.
    """
    global _board
    if PLACES:
        raise RuntimeError("Endoscope reads and steers one model of vLLM a process.")
    _board = board
    PLACES[:] = places


def remove() -> None:
    """Forget board and places."""
    global _board
    _board = None
    PLACES.clear()


def _visit(hidden: Tensor, residual: Tensor | None, place: int) -> None:
    if _board is not None:
        _board.act(hidden, residual, PLACES[place])


def _fake(hidden: Tensor, residual: Tensor | None, place: int) -> None:
    return


for _key in ("CPU", "CUDA"):
    _LIBRARY.impl("visit", _visit, _key)
torch.library.register_fake("endoscope::visit", _fake, lib=_LIBRARY)
