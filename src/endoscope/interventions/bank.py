"""The rows of all requests at one site and stage, and the one place where they are applied."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.interventions.compiled import Compiled, Stage
from endoscope.interventions.gating import GateState
from endoscope.interventions.lowrank import LowRank

_FAR = 1 << 40  # beyond any position
_NOTHING = 1e-6  # of a norm: what rounding leaves


class Member(NamedTuple):
    """A request at a stage: whose rows it uses, its prompt's length, and its gate."""

    compiled: Compiled
    stage: Stage
    prompt_length: int
    gate: GateState | None


class Bank:
    """What the requests that run together do at one stage of one site.

    Requests of the same `Compiled` share rows. Whatever can be computed when a request comes or
    goes is computed here, so that a forward pass does a dozen tensor operations, however many
    requests there are.

    Args:
        members: by slot.
        device: where the activations are.
        dtype: in which it is computed.

    Attributes:
        form: the rows of all of them.
        owner: whose each row of the form is, `[k]`, from 1.
    """

    def __init__(
        self, members: Mapping[int, Member], device: torch.device, dtype: torch.dtype
    ) -> None:
        shared: dict[Compiled, Stage] = {m.compiled: m.stage for m in members.values()}
        number = {compiled: index for index, compiled in enumerate(shared, start=1)}
        forms = [stage.form for stage in shared.values()]
        parts = zip(*forms, strict=True)
        self.form = LowRank(*(torch.cat(part).to(device, dtype) for part in parts))
        self._bends = bool((self.form.theta > float("-inf")).any())
        owner = [index for index, form in enumerate(forms, start=1) for _ in form.b]
        self.owner = torch.tensor(owner, device=device)

        # One entry a slot, and one past the end for all slots beyond: like slot 0, of nobody.
        size = max(members) + 2
        program, keep, listed = [0] * size, [False] * size, [False] * size
        first, end = [0] * size, [_FAR] * size
        keys: list[int] = []
        for slot, member in members.items():
            program[slot] = number[member.compiled]
            keep[slot] = member.stage.keep_norm
            match member.stage.positions:
                case "prompt":
                    end[slot] = member.prompt_length - 1
                case "generated":
                    first[slot] = member.prompt_length - 1
                case tuple(positions):
                    listed[slot] = True
                    keys += [slot * _FAR + position for position in positions]
        self._nobody = size - 1
        self._program = torch.tensor(program, device=device)
        self._keep = torch.tensor(keep, device=device) if any(keep) else None
        bounded = any(first) or any(e < _FAR for e in end)
        self._range = torch.tensor([first, end], device=device) if bounded else None
        self._listed = torch.tensor(listed, device=device) if keys else None
        self._keys = torch.tensor(keys, device=device)
        self._gates = {slot: m.gate for slot, m in members.items() if m.gate is not None}

    def apply(self, h: Tensor, slots: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows `[n, d_model]` as this stage leaves them, and which it changed, `[n]`.

        Args:
            h: rows, in the type in which it is computed.
            slots: of each row, `[n]`.
            positions: of each row, `[n]`.
        """
        program, keep = self.plan(slots, positions)
        return transform(h, self.form, self.owner, program, keep, bends=self._bends), program > 0

    def plan(self, slots: Tensor, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what is to be done to each row, before it is there.

        Args:
            slots: of each row, `[n]`.
            positions: of each row, `[n]`.

        Returns:
            Whose rows of the form change it, `[n]`, 0 for nobody's; and whether its norm is
            restored, `[n]`, or None where none is.
        """
        slots = slots.clamp(max=self._nobody)
        program = self._program[slots]
        program = torch.where(self._acts(program, slots, positions), program, 0)
        return program, None if self._keep is None else self._keep[slots]

    def _acts(self, program: Tensor, slots: Tensor, positions: Tensor) -> Tensor:
        """Return which rows have an intervention here that acts at their position, `[n]`."""
        acts = program > 0
        if self._range is not None:
            first, end = self._range[:, slots]
            acts = acts & (positions >= first) & (positions < end)
        if self._listed is not None:
            named = torch.isin(slots * _FAR + positions, self._keys)
            acts = acts & (named | ~self._listed[slots])
        if closed := self._closed(slots, positions) if self._gates else []:
            acts[closed] = False
        return acts

    def _closed(self, slots: Tensor, positions: Tensor) -> list[int]:
        """Return the rows at which a gate is closed."""
        places = enumerate(zip(slots.tolist(), positions.tolist(), strict=True))
        return [
            row
            for row, (slot, position) in places
            if slot in self._gates and not self._gates[slot].is_open(position)
        ]


def transform(
    h: Tensor,
    form: LowRank,
    owner: Tensor,
    program: Tensor,
    keep: Tensor | None = None,
    *,
    bends: bool = True,
) -> Tensor:
    """Change rows, each by the rows of the form that are its own. This is the arithmetic.

    Nothing in it depends on what the tensors hold, so that a graph of it can be captured once and
    replayed on other contents.

    Args:
        h: `[n, d_model]`, in the type in which it is computed.
        form: the rows of all, `[k, ...]`.
        owner: whose each of those is, `[k]`; those that are nobody's are not 0.
        program: whose rows change each row of `h`, `[n]`; 0 for nobody's, which stay bit for bit.
        keep: whether the norm of each row is restored, `[n]`; None: of none.
        bends: whether any threshold is above minus infinity.
    """
    changed = (program > 0)[:, None]
    z = torch.addmm(form.b, h, form.A.T)
    if bends:
        z = torch.where(z > form.theta, z, 0)
    # Selected, not multiplied: what another request's rows make of this one may overflow.
    mine = (program[:, None] == owner) & changed
    moved = torch.addmm(h, torch.where(mine, z + form.c, 0), form.B)
    if keep is not None:
        moved = torch.where(keep[:, None], _with_norm_of(h, moved), moved)
    return torch.where(changed, moved, h)


def _with_norm_of(h: Tensor, moved: Tensor) -> Tensor:
    """Return rows at the norms that they had; those of which nothing is left stay as they are."""
    before, after = h.norm(dim=1, keepdim=True), moved.norm(dim=1, keepdim=True)
    return moved * torch.where(after > _NOTHING * before, before / after, 1)
