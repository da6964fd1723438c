"""What every engine can be asked for."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from endoscope.engine.batching import Row
from endoscope.engine.requests import DEFAULT, Limits, Request, Step
from endoscope.engine.streaming import Streams
from endoscope.interventions import Compiled, Intervention
from endoscope.models import Anatomy, Site, SiteKind, TextTokenizer


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do; what it cannot is refused, with the alternative named.

    Attributes:
        engine: its name.
        kinds: the kinds of site that it can read and write on this model.
        causal: whether a token sees only what is before it; without that there is no streaming.
        midway: whether a request can be changed while it runs.
        sites: the only sites that it can reach; None: all of these kinds.
    """

    engine: str
    kinds: tuple[SiteKind, ...]
    causal: bool
    midway: bool
    sites: tuple[Site, ...] | None = None


class Engine(Protocol):
    """Runs sequences through a model and reads sites."""

    anatomy: Anatomy
    tokenizer: TextTokenizer

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do with its model."""
        ...

    def check(self, site: Site) -> None:
        """Refuse a site that cannot be reached here.

        Raises:
            InputError: names what can.
        """
        ...

    def compile(self, interventions: Sequence[Intervention]) -> Compiled:
        """Make interventions ready to run here.

        Raises:
            InputError: they do not fit this model.
        """
        ...

    def read(
        self,
        rows: Sequence[Row],
        sites: Sequence[Site],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], dict[Site, Tensor]]]:
        """Run rows in batches of similar length and yield what was read.

        Args:
            rows: each is a prompt of its own.
            sites: what to read.
            batch_tokens: most tokens in a batch, padding counted.
            interventions: what to change on the way; values are read after they were written.

        Yields:
            The numbers of the rows in the batch, and for each site the values of their kept tokens,
            one row after the other: `[tokens, d_model]`, on the CPU.

        Raises:
            InputError: a gate would need more than one forward pass.
        """
        ...

    def log_likelihood(
        self,
        rows: Sequence[Row],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Run rows in batches and yield how likely their kept tokens are, after those before.

        Args:
            rows: what comes before the kept tokens is the prompt.
            batch_tokens: most tokens in a batch, padding counted.
            interventions: what to change on the way.

        Yields:
            The numbers of the rows in the batch, and for each the natural logs of the
            probabilities of its kept tokens, `[kept]`, on the CPU.

        Raises:
            InputError: a gate would need more than one forward pass.
        """
        ...

    def divergence(
        self,
        rows: Sequence[Row],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], list[float]]]:
        """Run rows without and with interventions and yield how far predictions move.

        Args:
            rows: what comes before the kept tokens is the prompt.
            batch_tokens: most tokens in a batch, padding counted.
            interventions: what to change on the way.

        Yields:
            The numbers of the rows in the batch, and for each the Kullback-Leibler divergence
            KL(plain || changed) of the distributions that its kept tokens are predicted from, in
            nats, summed over them.

        Raises:
            InputError: a gate would need more than one forward pass.
        """
        ...

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[str, Step]]:
        """Run requests to their end and yield their steps with their ids, as they come.

        Raises:
            InputError: one of them cannot run on this model; then none does.
        """
        ...

    def iterate(self, request: Request) -> Iterator[Step]:
        """Run a request as `submit` does, for callers without an event loop."""
        ...

    def submit(self, request: Request) -> AsyncIterator[Step]:
        """Let a request run beside others; iterate in the event loop that calls this.

        Leaving the iterator before its end cancels the request.

        Raises:
            InputError: the request cannot run on this model, or its id is in use.
            EngineFailedError: the engine has ended.
        """
        ...

    def intervene(self, request_id: str, interventions: Sequence[Intervention]) -> None:
        """Put more interventions on a request that runs, after those that it has.

        They act from its next forward pass on. Unknown requests are ignored.

        Raises:
            InputError: an intervention does not fit the model.
        """
        ...

    def cancel(self, request_id: str) -> None:
        """End a request before its next token; its last step says so. Unknown ones are ignored."""
        ...

    def streams(self, limits: Limits = DEFAULT) -> Streams:
        """Return what runs requests in the background; the first call says how many at once."""
        ...

    def close(self) -> None:
        """End all requests, and wait until nothing runs any more."""
        ...
