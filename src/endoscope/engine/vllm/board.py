"""What the requests in one worker read and write, pass by pass.

Every row of a pass is a token; the rows of a request stand side by side. The model calls `visit`
where it comes to a place; what that does there is decided by whose the rows are.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from endoscope.engine.readings import RequestReadings, Stream, Together, gather
from endoscope.engine.vllm.fixed import Buffers
from endoscope.engine.vllm.orders import Order, parse
from endoscope.engine.vllm.reports import Report, Scores
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Operator
from endoscope.models.sites import Site


class Rows(NamedTuple):
    """The rows of one request in a pass.

    Attributes:
        name: whose.
        first: its first row.
        length: how many.
        position: of the first, in its text; the others follow.
    """

    name: str
    first: int
    length: int
    position: int


class _Admitted:
    """A request that is known here.

    Attributes:
        slot: its number among the interventions; 0: it has none.
        readings: its readouts that read here; None: there are none, or somebody else reports.
        read: where something of it is read here.
        sites: those of them whose values are wanted themselves.
        next: the first position that was not read yet.
        sent: the first position whose values were not sent yet.
        fault: why it cannot go on, if it cannot.
    """

    def __init__(self, order: Order, slot: int, unscored: int, here: Collection[Site]) -> None:
        readouts = {name: one for name, one in order.readouts.items() if one.spec.sites[0] in here}
        self.slot = slot
        self.readings = RequestReadings(readouts, unscored) if readouts else None
        self.read = order.read_sites.intersection(here)
        self.sites = [site for site in order.sites if site in here]
        self.next = unscored
        self.sent = order.first
        self.fault: str | None = None


class Board:
    """The requests that are known to a worker, and the pass that is running.

    Args:
        d_model: width of the model.
        device: where activations are.
        reports: whether this worker reads for all that compute the same (tensor parallel).
        armed: the sites that are there.
        here: those of them that this worker has (pipeline parallel); None: all.
        buffers: by site, where graphs are replayed; None: what is done is decided pass by pass.

    Attributes:
        sites: where something is read or written in the pass that is running.
        buffers: as given.
    """

    def __init__(
        self,
        d_model: int,
        device: torch.device,
        *,
        reports: bool,
        armed: Collection[Site],
        here: Collection[Site] | None = None,
        buffers: Mapping[Site, Buffers] | None = None,
    ) -> None:
        self._armed = frozenset(armed)
        self._here = self._armed if here is None else frozenset(here)
        self.sites = frozenset[Site]()
        self.buffers = buffers
        self._d_model = d_model
        self._device = device
        self._read_here = self._here if reports else frozenset[Site]()
        self._operator = Operator(device, torch.float32)
        self._known: dict[str, _Admitted] = {}
        self._free: list[int] = []
        self._slot = count(1)
        # Of the pass that is running: whose the rows are, and where they are changed and read.
        self._rows: list[tuple[_Admitted, Rows]] = []
        self._total = 0
        self._slots = self._positions = torch.zeros(0, dtype=torch.long, device=device)
        self._written = self._read = frozenset[Site]()
        self._values: dict[Site, Tensor] = {}
        self._tokens: list[tuple[int, Stream]] = []
        self._together: list[Together] = []  # of those
        self._filled = False  # whether buffers hold what somebody does

    def admit(self, name: str, text: str, prompt: Sequence[int]) -> None:
        """Know a request from its next pass on; one that is known stays what it is.

        Args:
            name: of the request.
            text: its order. One that cannot be carried out here gets a fault, and nothing else.
            prompt: its token ids.
        """
        if name in self._known:
            return
        try:
            self._known[name] = self._admitted(parse(text), prompt)
        except Exception as error:  # of this request: the worker and the others go on
            known = _Admitted(Order(), 0, 0, ())
            expected = isinstance(error, InputError)
            known.fault = str(error) if expected else f"It failed ({type(error).__name__})."
            self._known[name] = known

    def _admitted(self, order: Order, prompt: Sequence[int]) -> _Admitted:
        slot, unscored = 0, order.unscored(prompt)
        compiled = order.compile(self._d_model) if order.interventions else None
        named = order.read_sites | (compiled.sites if compiled else frozenset())
        if missing := sorted(named - self._armed):
            raise InputError(f"{missing[0]} is not there: start with it among the sites or kinds.")
        self._check_stage(order)
        if compiled is not None:
            if self.buffers is not None and compiled.immediate:
                raise InputError(
                    "Where graphs are replayed no gate can act in the pass in which it decides.",
                    "Use a probe with a look-ahead or at a later site than the intervention's; or "
                    "start with enforce_eager.",
                )
            slot = self._free.pop() if self._free else next(self._slot)
            self._operator.admit(slot, compiled, order.prompt_length(prompt), unscored=unscored)
            try:
                self._check_room(compiled)
            except InputError:
                self._operator.release(slot)
                self._free.append(slot)
                raise
        return _Admitted(order, slot, unscored, self._read_here)

    def _check_stage(self, order: Order) -> None:
        """Refuse what one worker of a pipeline would have to know of another's blocks."""
        together = [one.spec.sites for one in order.readouts.values()]
        for one in order.interventions:
            if one.gate is not None:
                together.append((one.site, *one.gate.readout.spec.sites))
        for sites in together:
            if len({site in self._here for site in sites}) > 1:
                raise InputError(
                    f"{', '.join(map(str, sites))} are on different stages of the pipeline: a "
                    "probe reads on one, and a gate acts on the one where its probe reads."
                )

    def _check_room(self, compiled: Compiled) -> None:
        """Refuse what has no room in the buffers of this worker."""
        for site, buffers in (self.buffers or {}).items():
            if site in compiled.stages:
                buffers.check(self._operator)

    def release(self, name: str) -> None:
        """Forget a request; unknown ones are ignored."""
        known = self._known.pop(name, None)
        if known is not None and known.slot:
            self._operator.release(known.slot)
            self._free.append(known.slot)

    def begin(self, rows: Sequence[Rows], total: int) -> None:
        """Say whose the rows of the pass that comes are.

        Args:
            rows: of requests, known or not.
            total: how many rows the pass has, padding counted.
        """
        self._rows = [(self._known[one.name], one) for one in rows if one.name in self._known]
        self._values = {}
        self._total = total
        written = [known for known, _ in self._rows if known.slot]
        self._written = self._operator.sites if written else frozenset()
        self._read = frozenset[Site]().union(*(known.read for known, _ in self._rows))
        self.sites = self._written | self._read
        if not (written or self._filled):
            return
        slots, positions = np.zeros((2, total), dtype=np.int64)
        for known, one in self._rows:
            mine = slice(one.first, one.first + one.length)
            slots[mine] = known.slot
            positions[mine] = np.arange(one.position, one.position + one.length)
        self._slots = torch.from_numpy(slots).to(self._device)
        self._positions = torch.from_numpy(positions).to(self._device)
        if self.buffers is not None:
            for buffers in self.buffers.values():
                buffers.fill(self._operator, self._slots, self._positions)
            self._filled = bool(written)  # once more after the last, to empty them

    def act(self, hidden: Tensor, residual: Tensor | None, sites: Sequence[Site]) -> None:
        """Do what is to be done at a place; what it changes is put into `hidden`.

        Args:
            hidden: `[rows, d_model]`; the value of the sites is the sum of both.
            residual: the other part, if it is in two.
            sites: at the place, in order.
        """
        if self.buffers is None and self.sites.isdisjoint(sites):
            return
        if self.buffers is None and len(hidden) != self._total:
            for known, _ in self._rows:
                known.fault = "The model does not run the rows of this pass at once."
            return
        # A tensor of its own: what is kept of it is read after the model has written over `hidden`.
        value = hidden.to(torch.float32, copy=True)
        if residual is not None:
            value += residual
        changed = value
        for site in sites:
            if self.buffers is None:
                changed = self.visit(site, changed)
            elif site in self.buffers:
                changed = self.buffers[site].visit(changed)
        if changed is not value:
            hidden += (changed - value).to(hidden.dtype)

    def visit(self, site: Site, value: Tensor) -> Tensor:
        """Write at a site, then read what stands there: `[rows, d_model]`, float32."""
        if site in self._written:
            value = self._operator(site, value, self._slots, self._positions)
        if site in self._read:
            self._values[site] = value
        return value

    def end(self) -> dict[str, Report]:
        """End the pass; return what it brought, for the requests that it brought something."""
        if not self._rows:
            return {}
        if self.buffers is not None:
            self._look(self.buffers)
        self._operator.end_forward()
        for known, _ in self._rows:
            known.fault = known.fault or self._operator.faults.get(known.slot)
        self._read_rows()
        reports = {one.name: self._report(known, one) for known, one in self._rows}
        self._rows, self._values, self.sites = [], {}, frozenset()
        return {name: report for name, report in reports.items() if report is not None}

    def _look(self, buffers: Mapping[Site, Buffers]) -> None:
        """Look at what a graph left there: for readouts, and for gates."""
        self._values = {site: buffers[site].after(self._total) for site in self._read}
        for site in self._written & buffers.keys():
            before = buffers[site].before[: self._total]
            self._operator.show(site, before, self._slots, self._positions)

    def _read_rows(self) -> None:
        """Feed the readouts; those that are alike and bring a token each are scored at once."""
        tokens: list[tuple[int, Stream]] = []
        for known, one in self._rows:
            if known.readings is None or (new := self._new_rows(known, one, known.next)) is None:
                continue
            known.next = one.position + one.length
            first, end = new
            if end - first == 1:
                tokens += ((first, stream) for stream in known.readings.streams)
                continue
            values = {site: self._values[site][None, first:end] for site in known.readings.sites}
            for stream in known.readings.streams:
                Together([stream], torch.tensor([0], device=self._device)).push(values)
        if tokens != self._tokens:  # mostly they are those of the last pass
            self._tokens, self._together = tokens, gather(tokens, self._device)
        rows = {site: value[:, None] for site, value in self._values.items()}
        for together in self._together:
            together.push(rows)

    def _report(self, known: _Admitted, rows: Rows) -> Report | None:
        values: Mapping[Site, Tensor] = {}
        if known.sites and (new := self._new_rows(known, rows, known.sent)) is not None:
            values = {site: self._values[site][slice(*new)].clone() for site in known.sites}
            known.sent = rows.position + rows.length
        readings, fault = known.readings, known.fault
        ready: Scores = {}
        rest: Scores = {}
        if readings is not None:
            ready, rest, fault = readings.ready(), readings.rest(), fault or readings.fault
        return Report(ready, rest, values, fault) if ready or rest or values or fault else None

    def _new_rows(self, known: _Admitted, rows: Rows, done: int) -> tuple[int, int] | None:
        """Return where the rows from a position on begin and end; None: there are none.

        What is run again after a preemption was done already. What was left out is a fault: all
        that follows would be of other tokens than it says.
        """
        if rows.position > done:
            known.fault = known.fault or "The model did not run all of its tokens."
        skipped = max(0, done - rows.position)
        if known.fault or skipped >= rows.length:
            return None
        return rows.first + skipped, rows.first + rows.length
