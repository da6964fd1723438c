"""Buffers of a fixed size, for graphs that are captured once and replayed.

Where CUDA graphs are replayed, no Python runs within the model. So whatever a pass is to do stands
in tensors that were there when the graph was captured: whose rows are changed by what (filled
before the pass), and what stood at the sites that are read (looked at after it). What is nobody's
is zero.
"""

from itertools import zip_longest

import torch
from torch import Tensor

from endoscope.errors import InputError
from endoscope.interventions import Operator
from endoscope.interventions.bank import Bank, transform
from endoscope.interventions.lowrank import LowRank
from endoscope.models.sites import Site

NOBODY = -1  # owns the rows of a form that are not in use


class Stage:
    """What is done at a site by the interventions that come at the same place in their lists.

    Args:
        rows: rows of all forms together, at most.
        tokens: rows of a pass, at most.
        d_model: width of the model.
        device: where the model is.
    """

    def __init__(self, rows: int, tokens: int, d_model: int, device: torch.device) -> None:
        wide = (torch.zeros(rows, d_model, device=device) for _ in range(2))
        narrow = (torch.zeros(rows, device=device) for _ in range(3))
        self.bank: Bank | None = None  # what the others were filled with
        self.form = LowRank(*wide, *narrow)
        self.owner = torch.full((rows,), NOBODY, device=device)
        self.program = torch.zeros(tokens, dtype=torch.long, device=device)
        self.keep = torch.zeros(tokens, dtype=torch.bool, device=device)

    def fill(self, bank: Bank | None, slots: Tensor, positions: Tensor) -> None:
        """Do what a bank says to rows of these slots and positions, `[n]` each; None: nothing."""
        if bank is self.bank is None:
            return
        self.program.zero_()
        self.keep.zero_()
        if bank is not None:
            if bank is not self.bank:  # a bank stays what it is until requests come or go
                self._copy(bank)
            program, keep = bank.plan(slots, positions)
            self.program[: len(program)] = program
            if keep is not None:
                self.keep[: len(keep)] = keep
        self.bank = bank

    def _copy(self, bank: Bank) -> None:
        used = len(bank.owner)
        for mine, given in zip(self.form, bank.form, strict=True):
            mine[:used] = given
        self.owner[:used] = bank.owner
        self.owner[used:] = NOBODY


class Buffers:
    """Everything that the graph reads and writes at one site.

    Args:
        site: which.
        stages: how many interventions a request can have there, one after the other.
        rows: rows of all requests' forms together, at most (an added vector has one).
        tokens: rows of a pass, at most.
        d_model: width of the model.
        device: where the model is.

    Attributes:
        before: what came there in the last pass, before it was changed, `[tokens, d_model]`,
            float32.
    """

    def __init__(
        self, site: Site, stages: int, rows: int, tokens: int, d_model: int, device: torch.device
    ) -> None:
        self.site = site
        self.before = torch.zeros(tokens, d_model, device=device)
        self._changes = False  # whether anybody's change may act here in the pass
        self._rows = rows
        self._stages = [Stage(rows, tokens, d_model, device) for _ in range(stages)]

    def visit(self, value: Tensor) -> Tensor:
        """Change rows `[n, d_model]` as the buffers say, and keep what they were.

        Nothing here depends on what the buffers hold.
        """
        self.before[: len(value)] = value
        return self._changed(value)

    def after(self, rows: int) -> Tensor:
        """Return what stood there in the last pass after it was changed, `[rows, d_model]`.

        It is made again, as keeping both would take twice the memory.
        """
        value = self.before[:rows]
        return self._changed(value) if self._changes else value

    def _changed(self, value: Tensor) -> Tensor:
        n = len(value)
        for stage in self._stages:
            value = transform(value, stage.form, stage.owner, stage.program[:n], stage.keep[:n])
        return value

    def fill(self, operator: Operator, slots: Tensor, positions: Tensor) -> None:
        """Say what the next pass does here, before it begins.

        Args:
            operator: the interventions of all requests.
            slots: whose each row is, `[n]`; the rows after them are nobody's.
            positions: of each row, `[n]`.
        """
        banks = operator.banks(self.site)
        self._changes = bool(banks)
        for stage, bank in zip_longest(self._stages, banks):
            stage.fill(bank, slots, positions)

    def check(self, operator: Operator) -> None:
        """Refuse what has no room here.

        Raises:
            InputError: says what, and what to do.
        """
        banks = operator.banks(self.site)
        if len(banks) > len(self._stages):
            raise InputError(
                f"There is room for {len(self._stages)} interventions of a request at {self.site}.",
                "Give fewer, or start with more stages.",
            )
        if any(len(bank.owner) > self._rows for bank in banks):
            raise InputError(
                f"The requests that run have no room left at {self.site}.",
                "Try again later, or start with more rows.",
            )
