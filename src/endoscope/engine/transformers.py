"""The engine on Hugging Face transformers: hooks that read, and stop the model when all is read."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from endoscope.engine.base import Capabilities
from endoscope.engine.batching import Row, pad, plan
from endoscope.engine.beginning import WORTH, Beginning, by_prompt, common_beginning, without
from endoscope.engine.core import Core
from endoscope.engine.divergence import divergences
from endoscope.engine.hooks import PackedRows, Visit, positions_of, visiting
from endoscope.engine.likelihood import log_probabilities
from endoscope.engine.preparing import Preparing
from endoscope.engine.requests import DEFAULT, Limits, Request, Step
from endoscope.engine.streaming import Steps, Streams
from endoscope.engine.transformers_batch import TransformersBatch
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Intervention, Operator, compile_interventions
from endoscope.models import LoadedModel, Site, Vocabulary


class AllRead(Exception):  # noqa: N818 - a signal, not an error
    """Raised inside the forward pass once every site was read: what follows is not needed."""


def _no_norms(site: Site) -> float:
    raise InputError(f"No typical norm of {site} is known here.", "Open the model as a Model.")


class TransformersEngine:
    """Runs a model with transformers, on one machine.

    Args:
        loaded: the model.
        norms: the typical norm of a site, which interventions are measured by.

    Attributes:
        lock: held during a forward pass: hooks are of the module, so passes must not mix.
    """

    def __init__(self, loaded: LoadedModel, norms: Callable[[Site], float] = _no_norms) -> None:
        self.loaded = loaded
        self.anatomy = loaded.anatomy
        self.tokenizer = loaded.tokenizer
        self.device = loaded.device
        self.dtype = loaded.dtype
        self.lock = threading.RLock()
        self._norms = norms
        self._streams: Streams | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do with its model."""
        return Capabilities(
            "transformers", self.anatomy.kinds, self.anatomy.causal, midway=self.anatomy.causal
        )

    def check(self, site: Site) -> None:
        """Refuse a site that this model does not have (see `Engine.check`)."""
        self.anatomy.check(site)

    def compile(self, interventions: Sequence[Intervention]) -> Compiled:
        """Make interventions ready to run (see `Engine.compile`)."""
        compiled = compile_interventions(interventions, self.anatomy.d_model, self._norms)
        for site in sorted(compiled.sites):
            self.check(site)
        if not self.anatomy.causal and any(one.positions == "generated" for one in interventions):
            raise InputError(
                "This model does not generate, so nothing is at the positions `generated`.",
                "Give other positions.",
            )
        return compiled

    def core(self, limits: Limits = DEFAULT) -> Core:
        """Return what runs requests, with a cache of its own; hold `lock` during its steps.

        Raises:
            InputError: the model reads texts as a whole, so it cannot generate.
        """
        if not self.anatomy.causal:
            raise InputError(
                f"A {self.anatomy.family} model reads texts as a whole; it does not generate.",
                "Open a causal model.",
            )
        batch = TransformersBatch(self.anatomy, self.device, self.dtype)
        return Core(batch, self._prepare, limits)

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[str, Step]]:
        """Run requests to their end (see `Engine.run`)."""
        core = self.core()
        for request in requests:
            core.add(request)
        while not core.idle:
            with self.lock:
                steps = core.step()
            yield from steps

    def iterate(self, request: Request) -> Iterator[Step]:
        """Run a request for a caller without an event loop (see `Engine.iterate`)."""
        return self.streams().iterate(request)

    def submit(self, request: Request) -> Steps:
        """Let a request run beside others (see `Engine.submit`)."""
        return self.streams().submit(request)

    def intervene(self, request_id: str, interventions: Sequence[Intervention]) -> None:
        """Change a request that runs, from its next pass on (see `Engine.intervene`)."""
        self.streams().intervene(request_id, interventions)

    def cancel(self, request_id: str) -> None:
        """End a request before its next token (see `Engine.cancel`)."""
        self.streams().cancel(request_id)

    def close(self) -> None:
        """End all requests (see `Engine.close`)."""
        with self.lock:
            streams, self._streams = self._streams, None
        if streams is not None:
            streams.close()

    def streams(self, limits: Limits = DEFAULT) -> Streams:
        """Return what runs requests in the background; the first call says how many at once."""
        with self.lock:
            if self._streams is None:
                self._streams = Streams(self.core(limits), self.lock)
            return self._streams

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

    def read(
        self,
        rows: Sequence[Row],
        sites: Sequence[Site],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], dict[Site, Tensor]]]:
        """Run rows in batches of similar length and yield what was read (see `Engine.read`)."""
        for batch in plan([len(row.ids) for row in rows], batch_tokens):
            members = [rows[number] for number in batch]
            ids, mask = pad(members, self.tokenizer.padding, self.device)
            prompts = [len(row.ids) for row in members]
            operator = self._operator(interventions, members, prompts)
            values = self.forward(ids, mask, sites, operator)
            keep = _kept(members, self.device)
            yield batch, {site: value[keep].cpu() for site, value in values.items()}

    def log_likelihood(
        self,
        rows: Sequence[Row],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Run rows and yield how likely their kept tokens are (see `Engine.log_likelihood`).

        What all rows begin with, a system prompt say, is run once, and so is a prompt that several
        answers follow.
        """
        begun = None if interventions is not None else self._beginning(rows)
        if begun is not None:
            yield from self._after(*begun, rows, batch_tokens)
            return
        for batch in plan([len(row.ids) for row in rows], batch_tokens):
            members = [rows[number] for number in batch]
            ids, mask = pad(members, self.tokenizer.padding, self.device)
            operator = self._operator(interventions, members, [row.start for row in members])
            final = self._run(ids, mask, _changing(operator, mask))
            yield batch, log_probabilities(self.anatomy, final, members)

    def _beginning(self, rows: Sequence[Row]) -> tuple[Beginning, int] | None:
        """Run what all rows begin with, where that is worth it and the model sees all of it.

        Returns:
            It, and how many tokens it has.
        """
        tokens = common_beginning(rows)
        if tokens < WORTH or any(window is not None for window in self.anatomy.windows.values()):
            return None
        ids = torch.tensor([list(rows[0].ids[:tokens])], device=self.device)
        return Beginning.of(self.anatomy, self.lock, ids), tokens

    def _after(
        self, begun: Beginning, tokens: int, rows: Sequence[Row], batch_tokens: int
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Run what follows a common beginning: prompts with several answers, then the answers."""
        sizes = [len(row.ids) for row in rows]  # what was run before takes room as well
        rows = [without(row, tokens) for row in rows]
        groups = by_prompt(rows, max(1, batch_tokens // max(sizes)))
        room = [sum(sizes[number] for number in group.numbers) for group in groups]
        for batch in plan(room, batch_tokens):
            some = [groups[place] for place in batch]
            before, which = begun, [0] * sum(len(group.numbers) for group in some)
            if any(group.prompt for group in some):
                prompts = [Row(group.prompt) for group in some]
                padded = pad(prompts, self.tokenizer.padding, self.device, left=True)
                before = begun.extended(*padded)
                which = [place for place, group in enumerate(some) for _ in group.numbers]
            numbers = [number for group in some for number in group.numbers]
            members = [
                without(rows[number], len(group.prompt))
                for group in some
                for number in group.numbers
            ]
            final = before.run(which, *pad(members, self.tokenizer.padding, self.device))
            yield numbers, log_probabilities(self.anatomy, final, members)

    def divergence(
        self,
        rows: Sequence[Row],
        *,
        batch_tokens: int,
        interventions: Compiled | None = None,
    ) -> Iterator[tuple[list[int], list[float]]]:
        """Run rows and yield how far predictions move (see `Engine.divergence`)."""
        for batch in plan([len(row.ids) for row in rows], batch_tokens):
            members = [rows[number] for number in batch]
            ids, mask = pad(members, self.tokenizer.padding, self.device)
            operator = self._operator(interventions, members, [row.start for row in members])
            plain = self._run(ids, mask, {})
            changed = self._run(ids, mask, _changing(operator, mask))
            yield batch, divergences(self.anatomy, plain, changed, members)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        sites: Sequence[Site],
        operator: Operator | None = None,
    ) -> dict[Site, Tensor]:
        """Run one padded batch as far as the last site and return the values.

        Args:
            ids: token ids `[batch, tokens]`, padded on either side.
            mask: 1 where there is a token, 0 where there is padding, `[batch, tokens]`.
            sites: what to read.
            operator: changes what stands at sites before it is read; the text in row r has its
                slot r + 1.

        Returns:
            For each site `[batch, tokens, d_model]`, padding included.

        Raises:
            InputError: the model has no such site.
        """
        values: dict[Site, Tensor] = {}
        visits = _changing(operator, mask)

        def reading(change: Visit | None) -> Visit:
            def visit(site: Site, value: Tensor) -> Tensor:
                values[site] = value if change is None else change(site, value)
                if len(values) == len(sites):
                    raise AllRead
                return values[site]

            return visit

        with suppress(AllRead):
            self._run(ids, mask, visits | {site: reading(visits.get(site)) for site in sites})
        return values

    @torch.no_grad()
    def _run(self, ids: Tensor, mask: Tensor, visits: dict[Site, Visit]) -> Tensor:
        """Run one padded batch and return what the model makes of it before its head."""
        options: dict[str, Any] = {"use_cache": False} if self.anatomy.causal else {}
        if (positions := positions_of(mask)) is not None:
            options["position_ids"] = positions
        with self.lock, ExitStack() as hooks:
            for site, visit in visits.items():
                hooks.enter_context(visiting(self.anatomy, site, visit))
            output = self.anatomy.base(input_ids=ids, attention_mask=mask, **options)
        final: Tensor = output.last_hidden_state
        return final

    def _operator(
        self, compiled: Compiled | None, rows: Sequence[Row], prompts: Sequence[int]
    ) -> Operator | None:
        """Return an operator for a batch, in which row r has slot r + 1."""
        if compiled is None:
            return None
        compiled.check_at_once()
        operator = Operator(self.device, self.dtype)
        for slot, (row, length) in enumerate(zip(rows, prompts, strict=True), start=1):
            operator.admit(slot, compiled, length, unscored=self.tokenizer.unscored(row.ids))
        return operator


def _changing(operator: Operator | None, mask: Tensor) -> dict[Site, Visit]:
    """Return the visits that let an operator change a padded batch, for each of its sites."""
    if operator is None:
        return {}
    rows = PackedRows.of(mask, torch.arange(1, len(mask) + 1, device=mask.device))

    def change(site: Site, value: Tensor) -> Tensor:
        packed = rows.pack(value)
        changed = operator(site, packed, rows.slots, rows.positions)
        if operator.faults:
            raise InputError(next(iter(operator.faults.values())), "Use another probe.")
        return value if changed is packed else rows.put(value, changed)

    return dict.fromkeys(operator.sites, change)


def _kept(rows: Sequence[Row], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return batch and token indices of the kept tokens, row after row."""
    batch = [torch.full((row.kept,), number) for number, row in enumerate(rows)]
    token = [torch.arange(row.start, len(row.ids)) for row in rows]
    return torch.cat(batch).to(device), torch.cat(token).to(device)
