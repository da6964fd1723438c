"""From what a user asks for to what workers are told: checked against the model."""

from collections.abc import Callable, Mapping, Sequence

from endoscope.engine.vllm.orders import Order
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Intervention, compile_interventions
from endoscope.models import LoadedModel, Site, SiteKind
from endoscope.readouts import Readout

EDGES: tuple[SiteKind, ...] = ("resid_pre", "resid_post")
"""The kinds of site that are there in any case: those between blocks."""


class Ordering:
    """Checks what is asked for, and makes orders of it.

    Args:
        loaded: what is known of the model.
        norms: the typical norm of a site, which interventions are measured by.
        kinds: the kinds of site that were asked for beside those between blocks.
        sites: the only ones that can be reached; empty: all of these kinds.

    Attributes:
        kinds: all kinds of site that are there.
        sites: as given.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        norms: Callable[[Site], float],
        kinds: Sequence[SiteKind],
        sites: Sequence[Site] = (),
    ) -> None:
        self.sites = tuple(sites)
        kinds = (*kinds, *(site.kind for site in sites))
        self._anatomy = loaded.anatomy
        self._tokenizer = loaded.tokenizer
        self._norms = norms
        self.kinds = tuple(kind for kind in loaded.anatomy.kinds if kind in (*EDGES, *kinds))

    def check(self, site: Site) -> None:
        """Refuse a site that is not there, or that vLLM was not asked for.

        Raises:
            InputError: names those that are.
        """
        self._anatomy.check(site)
        if site.kind not in self.kinds:
            raise InputError(
                f"{site} is not read on vLLM unless it was asked for.",
                f"Use one of {', '.join(self.kinds)}; or start it with kinds=[{site.kind!r}].",
            )
        if self.sites and site not in self.sites:
            raise InputError(
                f"{site} was not named at the start.",
                f"Use one of {', '.join(map(str, self.sites))}; or start with it among the sites.",
            )

    def compile(self, interventions: Sequence[Intervention]) -> Compiled:
        """Make interventions ready to run (see `Engine.compile`)."""
        compiled = compile_interventions(interventions, self._anatomy.d_model, self._norm)
        for site in sorted(compiled.sites):
            self.check(site)
        return compiled

    def _norm(self, site: Site) -> float:
        self.check(site)
        return self._norms(site)

    def order(
        self,
        interventions: tuple[Intervention, ...] = (),
        readouts: Mapping[str, Readout] | None = None,
        sites: Sequence[Site] = (),
        first: int = 0,
        prompt: int | None = None,
    ) -> Order:
        """Return what workers are told of a request.

        Args:
            interventions: what is changed, in order.
            readouts: what is read, by name.
            sites: whose values are wanted themselves.
            first: the first position of those.
            prompt: how many tokens count as the prompt; None: those that it begins with.
        """
        norms = {one.site: self._norms(one.site) for one in interventions if one.measured}
        given = interventions, norms, readouts or {}, tuple(sites)
        return Order(*given, first=first, prefix=tuple(self._tokenizer.prefix()), prompt=prompt)
