"""What a forward pass over some requests reads and writes on its way."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from endoscope.engine.readings import Together, gather
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

    def read_chunks(self, lengths: Sequence[int], start: int) -> None:
        """Feed the readouts with pieces of prompts, all from the same position on."""
        for number, (row, length) in enumerate(zip(self.rows, lengths, strict=True)):
            if row.readings is None:
                continue
            inside = slice(max(0, row.readings.unscored - start), length)
            values = {site: self.values[site][:, inside] for site in row.readings.sites}
            for stream in row.readings.streams:
                Together([stream], self._number(number)).push(values)

    def read_tokens(self) -> None:
        """Feed the readouts with one token a row."""
        for together in self._together:
            together.push(self.values)

    @cached_property
    def _together(self) -> list[Together]:
        """The readouts of the pass; those that are alike are scored at once."""
        places = (
            (number, stream)
            for number, row in enumerate(self.rows)
            for stream in (row.readings.streams if row.readings is not None else ())
        )
        return gather(places, self._slots.device)

    def _number(self, *rows: int) -> Tensor:
        return torch.tensor(rows, device=self._slots.device)
