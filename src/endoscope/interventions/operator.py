"""The interventions of all requests that run together."""

from collections import defaultdict

import torch
from torch import Tensor

from endoscope.interventions.bank import Bank, Member
from endoscope.interventions.compiled import Compiled, Stage
from endoscope.interventions.gating import GateState
from endoscope.models.sites import Site


class _Admitted:
    """A request: what it does and the state of its gates."""

    def __init__(self, compiled: Compiled, prompt_length: int, unscored: int) -> None:
        self.compiled = compiled
        self.prompt_length = prompt_length
        self.gates: dict[Stage, GateState] = {
            stage: GateState(stage.gate, stage, prompt_length, unscored)
            for stages in compiled.stages.values()
            for stage in stages
            if stage.gate is not None
        }


class Operator:
    """Changes activations as the requests in a batch ask for, each row as its own request does.

    Every engine calls this one: it knows nothing of how a model is run. A row is a token; its slot
    says whose it is. Slots are numbers from 1; slot 0, and a slot that nobody was admitted to, is
    nobody's, and its rows come back bit for bit as they were.

    Args:
        device: where the activations are.
        dtype: of the activations. It is computed in float32, or in this type where it is wider.

    Attributes:
        faults: why the gates of a slot decide no more, for the slots where they do not: what they
            decided about is not to be used.

    Example:
        >>> operator = Operator()
        >>> operator.admit(1, compile_interventions([one], d_model, norms), prompt_length=7)
        >>> operator(site, h, slots=torch.ones(7, dtype=torch.long), positions=torch.arange(7))
    """

    def __init__(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self._device = torch.device(device)
        self._dtype = torch.promote_types(dtype, torch.float32)
        self.faults: dict[int, str] = {}
        self._requests: dict[int, _Admitted] = {}
        self._banks: dict[Site, list[Bank]] = {}
        self._readers: dict[Site, list[tuple[int, GateState]]] = {}

    @property
    def sites(self) -> frozenset[Site]:
        """Where something is written, or read by a gate, for the requests that are running."""
        return frozenset().union(*(one.compiled.sites for one in self._requests.values()))

    def admit(
        self, slot: int, compiled: Compiled, prompt_length: int, *, unscored: int = 0
    ) -> None:
        """Let a request have a slot.

        Args:
            slot: a number from 1 that is free.
            compiled: what it does; requests that give the same object share its rows.
            prompt_length: tokens in its prompt.
            unscored: how many tokens at its start were added (BOS): gates do not read them, as
                probes do not.
        """
        if slot < 1 or slot in self._requests:
            raise ValueError(f"slot {slot} is not free")
        self._requests[slot] = _Admitted(compiled, prompt_length, unscored)
        self._forget(compiled)

    def extend(self, slot: int, more: Compiled, first: int) -> None:
        """Put more interventions on a request that runs, after those that it has.

        Args:
            slot: whose.
            more: what is added.
            first: the position that its next pass begins with: new gates read from there on.
        """
        before = self._requests[slot]
        compiled = before.compiled.then(more)
        now = _Admitted(compiled, before.prompt_length, first)
        now.gates |= before.gates
        self._requests[slot] = now
        self._forget(compiled)

    def release(self, slot: int) -> None:
        """Make a slot nobody's again."""
        self._forget(self._requests.pop(slot).compiled)
        self.faults.pop(slot, None)

    def __call__(self, site: Site, h: Tensor, slots: Tensor, positions: Tensor) -> Tensor:
        """Return what becomes of the rows of a forward pass at a site.

        The rows of a request come in the order of their positions, and a pass goes on where the
        one before it ended, or repeats what was read already.

        Args:
            site: where the rows are from. Call it once a pass for each of `sites`, in the order in
                which the model comes to them.
            h: packed rows without padding, `[n, d_model]`.
            slots: whose each row is, `[n]`, int64.
            positions: absolute index of each row in its text, `[n]`, int64.

        Returns:
            `[n, d_model]`, in the type of `h`.
        """
        banks = self.banks(site)
        self.show(site, h, slots, positions)
        if not banks:
            return h
        wide = h.to(self._dtype)
        touched = None
        for bank in banks:
            wide, changed = bank.apply(wide, slots, positions)
            touched = changed if touched is None else touched | changed
        if wide.dtype == h.dtype:
            return wide
        assert touched is not None
        return torch.where(touched[:, None], wide.to(h.dtype), h)

    def banks(self, site: Site) -> list[Bank]:
        """Return what is done at a site, one after the other, for who computes it himself."""
        if site not in self._banks:
            self._prepare(site)
        return self._banks[site]

    def show(self, site: Site, h: Tensor, slots: Tensor, positions: Tensor) -> None:
        """Show gates what stands at a site, for who computes what is done himself.

        Args: as for a call.
        """
        self.banks(site)
        if self._readers[site]:
            self._read(site, h, slots.tolist(), positions.tolist())

    def end_forward(self) -> None:
        """Say that a forward pass has ended: the decisions of deferred gates take effect."""
        for request in self._requests.values():
            for gate in request.gates.values():
                gate.end_forward()

    def _read(self, site: Site, h: Tensor, slots: list[int], positions: list[int]) -> None:
        """Show the gates that read here what stands in the rows of their requests."""
        rows: dict[int, list[int]] = defaultdict(list)
        for row, slot in enumerate(slots):
            rows[slot].append(row)
        for slot, gate in self._readers[site]:
            if mine := rows.get(slot):
                together = mine[-1] - mine[0] == len(mine) - 1
                values = h[mine[0] : mine[-1] + 1] if together else h[mine]
                gate.read(site, values, [positions[row] for row in mine])
                if gate.fault is not None:
                    self.faults[slot] = gate.fault

    def _forget(self, compiled: Compiled) -> None:
        """Have the banks of these sites made again when they are next needed."""
        for site in compiled.sites:
            self._banks.pop(site, None)
            self._readers.pop(site, None)

    def _prepare(self, site: Site) -> None:
        here = [request.compiled.stages.get(site, ()) for request in self._requests.values()]
        depth = max(map(len, here), default=0)
        self._banks[site] = [
            Bank(self._members(site, number), self._device, self._dtype) for number in range(depth)
        ]
        self._readers[site] = [
            (slot, gate)
            for slot, request in self._requests.items()
            for gate in request.gates.values()
            if site in gate.sites
        ]

    def _members(self, site: Site, number: int) -> dict[int, Member]:
        members = {}
        for slot, request in self._requests.items():
            stages = request.compiled.stages.get(site, ())
            if number < len(stages):
                stage = stages[number]
                gate = request.gates.get(stage)
                members[slot] = Member(request.compiled, stage, request.prompt_length, gate)
        return members
