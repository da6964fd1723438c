"""What a forward pass over some requests reads and writes on its way."""

from collections.abc import Sequence

import torch
from torch import Tensor

from endoscope.engine.running import Running
from endoscope.interventions import Operator
from endoscope.models import Site


class Pass:
    """The sites of the requests in a pass, and what is done there.

    Args:
        rows: whose the rows of the pass are, in order.
        operator: the interventions of all requests.
        device: where the model is.

    Attributes:
        sites: where the pass is to call `visit`.
        values: what the pass brought where something is read, `[rows, tokens, d_model]`.
    """

    def __init__(self, rows: Sequence[Running], operator: Operator, device: torch.device) -> None:
        self.rows = tuple(rows)
        self.values: dict[Site, Tensor] = {}
        self._operator = operator
        self._slots = torch.tensor([row.slot for row in rows], device=device)
        self._written = frozenset[Site]().union(
            *(row.compiled.sites for row in rows if row.compiled is not None)
        )
        self._read = frozenset[Site]().union(
            *(row.readings.sites for row in rows if row.readings is not None)
        )
        self.sites = self._written | self._read

    def begin(self, positions: Tensor, lengths: Sequence[int] | None = None) -> None:
        """Say which tokens come: positions `[rows, tokens]`; past a row's length is padding."""
        self.values = {}
        self._positions = positions.flatten()
        slots = self._slots[:, None].expand_as(positions)
        if lengths is not None:
            inside = torch.arange(positions.shape[1]) < torch.tensor(lengths)[:, None]
            slots = slots * inside.to(slots.device)
        self._row_slots = slots.flatten()

    def visit(self, site: Site, value: Tensor) -> Tensor:
        """Write at a site, then read what stands there: `[rows, tokens, d_model]`."""
        if site in self._written:
            flat = value.flatten(0, 1)
            changed = self._operator(site, flat, self._row_slots, self._positions)
            value = changed.view(value.shape)
        if site in self._read:
            self.values[site] = value
        return value

    def read_chunks(self, lengths: Sequence[int], start: int) -> dict[Running, str]:
        """Feed the readouts with pieces of prompts; return who could not be read, and why."""
        failed: dict[Running, str] = {}
        for number, (row, length) in enumerate(zip(self.rows, lengths, strict=True)):
            if row.readings is not None:
                values = {site: self.values[site][number, :length] for site in row.readings.sites}
                row.readings.push(values, start)
        return failed

    def read_tokens(self) -> dict[Running, str]:
        """Feed the readouts with one token a row; return who could not be read, and why."""
        failed: dict[Running, str] = {}
        for number, row in enumerate(self.rows):
            if row.readings is not None:
                values = {site: self.values[site][number] for site in row.readings.sites}
                row.readings.push(values, row.done - 1)
        return failed
