"""The engine that users hold: a model on vLLM."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import cached_property
from threading import RLock
from typing import Any
from uuid import uuid4

import torch
from pydantic import ValidationError
from torch import Tensor
from vllm import EngineArgs
from vllm.plugins import load_general_plugins
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.llm_engine import LLMEngine

from endoscope.engine.base import Capabilities
from endoscope.engine.batching import Row
from endoscope.engine.preparing import Preparing
from endoscope.engine.requests import DEFAULT, Limits, Request, Step
from endoscope.engine.running import Running
from endoscope.engine.streaming import Steps, Streams
from endoscope.engine.vllm import op
from endoscope.engine.vllm.core import VllmCore
from endoscope.engine.vllm.ordering import Ordering
from endoscope.engine.vllm.orders import Order
from endoscope.engine.vllm.reports import Report
from endoscope.engine.vllm.seams import frontend
from endoscope.engine.vllm.seams.names import FAMILIES
from endoscope.engine.vllm.seams.settings import KEY, Settings, unsupported
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Intervention
from endoscope.models import LoadedModel, Site, SiteKind, Vocabulary, parse_sites


class VllmEngine:
    """Runs sequences on vLLM (see `endoscope.engine.base.Engine`).

    Args:
        loaded: what is known of the model; its weights are not needed.
        norms: the typical norm of a site, which interventions are measured by.
        kinds: the kinds of site that are wanted beside `resid_pre` and `resid_post`.
        sites: the only sites to be reached: the operation is nowhere else, so nothing else costs
            anything. Where graphs are replayed, some must be named. None given: all.
        options: of vLLM (`EngineArgs`).

    Raises:
        InputError: vLLM does not run such a model with Endoscope, or has no such option.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        norms: Callable[[Site], float],
        kinds: Sequence[SiteKind] = (),
        sites: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.loaded = loaded
        self.anatomy = loaded.anatomy
        self.tokenizer = loaded.tokenizer
        self.lock = RLock()
        if self.anatomy.family not in FAMILIES:
            raise InputError(
                f"The vLLM engine does not know {self.anatomy.family} models.",
                f"It knows {', '.join(FAMILIES)}; or use the transformers engine.",
            )
        named = parse_sites(list(sites)) if sites else []
        self._ordering = Ordering(loaded, norms, kinds, named)
        for site in named:
            self.check(site)
        given = dict(options.pop("additional_config", None) or {})
        here = {"kinds": list(kinds), "sites": list(map(str, named))}
        ours = {**given.get(KEY, {}), **here}
        arguments: dict[str, Any] = {
            "model": str(loaded.folder),
            "dtype": str(loaded.dtype).removeprefix("torch."),
            "skip_tokenizer_init": True,
            "async_scheduling": False,  # a token is decided when what was read before it is known
            "additional_config": given | {KEY: ours},
            **options,
        }
        os.environ["VLLM_COMPUTE_NANS_IN_LOGITS"] = "1"
        self._vllm = _started(arguments)
        # Where the last token is to be read, one more than was asked for is generated.
        self.anatomy.max_tokens = self._vllm.model_config.max_model_len - 1
        self._core = VllmCore(self._vllm, self._prepare, self._order)
        self._streams: Streams | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do with its model."""
        kinds, sites = self._ordering.kinds, self._ordering.sites
        return Capabilities("vllm", kinds, causal=True, midway=False, sites=sites or None)

    def check(self, site: Site) -> None:
        """Refuse a site that is not there, or was not asked for (see `Engine.check`)."""
        self._ordering.check(site)

    def compile(self, interventions: Sequence[Intervention]) -> Compiled:
        """Make interventions ready to run (see `Engine.compile`)."""
        return self._ordering.compile(interventions)

    @cached_property
    def _prepare(self) -> Preparing:
        return Preparing(
            self.anatomy,
            Vocabulary(self.tokenizer.hf),
            self.loaded.ends,
            self.compile,
            self.tokenizer.unscored,
            self.check,
        )

    def _order(self, running: Running) -> Order:
        request = running.request
        return self._ordering.order(request.interventions, request.readouts)

    def read(
        self,
        rows: Sequence[Row],
        sites: Sequence[Site],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], dict[Site, Tensor]]]:
        """Run rows and yield what was read, one after the other (see `Engine.read`)."""
        for site in sites:
            self.check(site)
        changes = _at_once(interventions)

        def order(row: Row) -> Order:
            return self._ordering.order(changes, sites=sites, first=row.start)

        width = self.anatomy.d_model
        for number, _, reports in self._read(rows, order, batch_tokens):
            parts = [one.values for one in reports if one.values]
            empty = torch.zeros(0, width)
            found = {s: torch.cat([empty, *(part[s] for part in parts)]) for s in sites}
            kept = len(rows[number].ids) - rows[number].start
            if any(len(value) != kept for value in found.values()):
                raise RuntimeError("vLLM gave values of other tokens than were asked for.")
            yield [number], found

    def log_likelihood(
        self,
        rows: Sequence[Row],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Run rows and yield how likely their kept tokens are (see `Engine.log_likelihood`)."""
        changes = _at_once(interventions)

        def order(row: Row) -> Order:
            return self._ordering.order(changes, prompt=row.start)

        for number, output, _ in self._read(rows, order, batch_tokens, prompt_logprobs=0):
            row, found = rows[number], output.prompt_logprobs or []
            kept = range(row.start, len(row.ids))
            yield [number], [torch.tensor([found[i][row.ids[i]].logprob for i in kept])]

    def _read(
        self,
        rows: Sequence[Row],
        order: Callable[[Row], Order],
        batch_tokens: int,
        **params: Any,
    ) -> Iterator[tuple[int, Any, list[Report]]]:
        """Yield the number of each row, a few at a time, with vLLM's output and the reports."""
        for numbers in _portions(rows, batch_tokens):
            with self.lock:
                done = list(self._core.read([rows[n] for n in numbers], order, **params))
            for place, output, reports in done:
                yield numbers[place], output, reports

    def divergence(
        self,
        rows: Sequence[Row],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], list[float]]]:
        """Refuse: vLLM gives no whole distributions.

        Raises:
            InputError: always.
        """
        raise InputError(
            "vLLM does not give whole distributions, which a divergence needs.",
            "Use the transformers engine.",
        )

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[str, Step]]:
        """Run requests to their end (see `Engine.run`)."""
        # Under names of their own: who else runs something may have used the same.
        names = {uuid4().hex: request for request in requests}
        renamed = [replace(request, id=name) for name, request in names.items()]
        for request in renamed:
            self._prepare(request)
        for name, step in self.streams().run(renamed):
            yield names[name].id, step

    def iterate(self, request: Request) -> Iterator[Step]:
        """Run a request for a caller without an event loop (see `Engine.iterate`)."""
        return self.streams().iterate(request)

    def submit(self, request: Request) -> Steps:
        """Let a request run beside others (see `Engine.submit`)."""
        return self.streams().submit(request)

    def intervene(self, request_id: str, interventions: Sequence[Intervention]) -> None:
        """Refuse: what a request has in the cache is filed under what it began with.

        Raises:
            InputError: always.
        """
        raise InputError(
            "A request that runs on vLLM cannot be changed any more.",
            "Give the intervention with the request, with a gate; or use the transformers engine.",
        )

    def cancel(self, request_id: str) -> None:
        """End a request before its next token (see `Engine.cancel`)."""
        self.streams().cancel(request_id)

    def streams(self, limits: Limits = DEFAULT) -> Streams:
        """Return what runs requests in the background; vLLM has limits of its own."""
        with self.lock:
            if self._streams is None:
                self._streams = Streams(self._core, self.lock)
            return self._streams

    def close(self) -> None:
        """End all requests, and vLLM."""
        with self.lock:
            streams, self._streams = self._streams, None
        if streams is not None:
            streams.close()
        self._vllm.engine_core.shutdown()
        op.remove()  # where its worker was in this process


def _started(arguments: dict[str, Any]) -> LLMEngine:
    """Start vLLM.

    Raises:
        InputError: it has no such option or refuses a value, or Endoscope cannot work in it.
    """
    if unknown := set(arguments) - {field.name for field in fields(EngineArgs)}:
        raise InputError(
            f"vLLM has no option {min(unknown)!r}.", "Use the names of its `EngineArgs`."
        )
    load_general_plugins()
    if not frontend.holds():
        raise InputError(
            "vLLM has not loaded Endoscope's plugin, so nothing would be read or changed.",
            "Name `endoscope` in VLLM_PLUGINS, or unset it.",
        )
    try:
        options = EngineArgs(**arguments)
        config = options.create_engine_config(UsageContext.ENGINE_CONTEXT)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise InputError(f"vLLM refuses its options: {_first_line(error)}") from None
    if reason := unsupported(config):
        raise InputError(reason)
    settings = Settings.of(config)
    if settings is not None and settings.sites == ():
        raise InputError(
            "Graphs are replayed, and no sites are named: nothing could be read or changed.",
            "Name those that are wanted (sites), or give enforce_eager.",
        )
    return LLMEngine.from_vllm_config(
        config, UsageContext.ENGINE_CONTEXT, disable_log_stats=options.disable_log_stats
    )


def _first_line(error: Exception) -> str:
    """What is wrong, of an error that may have been written by pydantic."""
    if isinstance(error, ValidationError):
        return "; ".join(one["msg"] for one in error.errors())
    return str(error).partition("\n")[0]


def _at_once(interventions: Compiled | None) -> tuple[Intervention, ...]:
    """Return interventions that can act on a text that is read at once.

    Raises:
        InputError: a gate would need more than one forward pass.
    """
    if interventions is None:
        return ()
    interventions.check_at_once()
    return interventions.interventions


def _portions(rows: Sequence[Row], tokens: int) -> Iterator[list[int]]:
    """Yield the numbers of rows, a few at a time, so that not all that is read is held at once.

    A row of more than so many tokens is alone; one of none, which vLLM does not take, is left out.
    """
    portion: list[int] = []
    held = 0
    for number, row in enumerate(rows):
        if portion and held + len(row.ids) > tokens:
            yield portion
            portion, held = [], 0
        if row.ids:
            portion.append(number)
            held += len(row.ids)
    if portion:
        yield portion
