"""The interventions of a request, made ready to run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from endoscope.errors import InputError
from endoscope.interventions.gate import Gate
from endoscope.interventions.lowrank import LowRank
from endoscope.interventions.operations import Intervention, Positions
from endoscope.models.sites import Site

_WITHIN_A_LAYER = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")


@dataclass(frozen=True, eq=False)
class Stage:
    """One intervention at its site.

    Attributes:
        form: what it does.
        positions: where in the text.
        keep_norm: whether the norm of each vector is restored.
        gate: what it waits for.
        immediate: whether the gate's decision acts in the same forward pass.
    """

    form: LowRank
    positions: Positions
    keep_norm: bool
    gate: Gate | None
    immediate: bool


@dataclass(frozen=True, eq=False)
class Compiled:
    """The interventions of one request, ready for an `Operator`.

    Requests that are given the same object share its rows in the operator.

    Attributes:
        interventions: in the order in which they apply.
        d_model: width of the model.
        stages: those of each site, in order.
    """

    interventions: tuple[Intervention, ...]
    d_model: int
    stages: dict[Site, tuple[Stage, ...]]

    @cached_property
    def sites(self) -> frozenset[Site]:
        """Where something is written, or read by a gate."""
        gates = (one.gate for one in self.interventions if one.gate is not None)
        read = (site for gate in gates for site in gate.readout.spec.sites)
        return frozenset(self.stages).union(read)

    def then(self, more: "Compiled") -> "Compiled":
        """Return these interventions with more after them; their stages stay the same objects."""
        stages = dict(self.stages)
        for site, added in more.stages.items():
            stages[site] = (*stages.get(site, ()), *added)
        return Compiled((*self.interventions, *more.interventions), self.d_model, stages)

    @cached_property
    def deferred(self) -> bool:
        """Whether a gate acts from the next forward pass on, so that passes matter."""
        stages = (stage for several in self.stages.values() for stage in several)
        return any(stage.gate is not None and not stage.immediate for stage in stages)

    @cached_property
    def immediate(self) -> bool:
        """Whether a gate acts in the forward pass in which it decides."""
        stages = (stage for several in self.stages.values() for stage in several)
        return any(stage.gate is not None and stage.immediate for stage in stages)

    def check_at_once(self) -> None:
        """Refuse what cannot act on a text that is read at once.

        Raises:
            InputError: a gate would need more than one forward pass.
        """
        if self.deferred:
            raise InputError(
                "A gate acts from the next forward pass on (its probe looks ahead, or reads a "
                "later site), but this text is read in one.",
                "Generate with it; or use a probe without look-ahead, at the intervention's site "
                "or before it.",
            )

    def __repr__(self) -> str:
        return f"Compiled({', '.join(map(repr, self.interventions))})"


def compile_interventions(
    interventions: Iterable[Intervention], d_model: int, norms: Callable[[Site], float]
) -> Compiled:
    """Make interventions ready to run in a model.

    Args:
        interventions: in the order in which they apply.
        d_model: width of the model.
        norms: the typical norm of a site.

    Raises:
        InputError: a vector or a gate's probe does not fit the model, or a strength is too large.
    """
    interventions = tuple(interventions)
    stages: dict[Site, tuple[Stage, ...]] = {}
    for number, one in enumerate(interventions, start=1):
        try:
            stages[one.site] = (*stages.get(one.site, ()), _stage(one, d_model, norms))
        except InputError as error:
            message = f"Intervention {number} ({one.kind} at {one.site}): {error.message}"
            raise InputError(message, error.hint) from None
    return Compiled(interventions, d_model, stages)


def _stage(one: Intervention, d_model: int, norms: Callable[[Site], float]) -> Stage:
    if one.d_model != d_model:
        raise InputError(
            f"it has vectors of {one.d_model} numbers; this model has {d_model}.",
            "Give vectors made with this model.",
        )
    gate = one.gate
    if gate is not None and gate.readout.head.n_features != gate.readout.spec.width(d_model):
        raise InputError(
            f"its gate's probe takes {gate.readout.head.n_features} features; its sites have "
            f"{gate.readout.spec.width(d_model)} here.",
            "Give a probe fitted on this model.",
        )
    norm = norms(one.site) if one.measured else 1.0
    immediate = gate is None or _immediate(gate, one.site)
    return Stage(one.form(norm), one.positions, one.keep_norm, gate, immediate)


def _immediate(gate: Gate, site: Site) -> bool:
    spec = gate.readout.spec
    return spec.look_ahead == 0 and depth(last(spec.sites)) <= depth(site)


def depth(site: Site) -> tuple[int, int]:
    """Return a key that sorts sites in the order in which a forward pass comes to them."""
    return site.layer, _WITHIN_A_LAYER.index(site.kind)


def last(sites: Iterable[Site]) -> Site:
    """Return the site that a forward pass comes to last."""
    return max(sites, key=depth)
