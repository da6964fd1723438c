"""The engine on Hugging Face transformers: hooks that read, and stop the model when all is read."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor

from endoscope.engine.base import Capabilities
from endoscope.engine.batching import Row, pad, plan
from endoscope.models import LoadedModel, Site


class _AllRead(Exception):  # noqa: N818 - a signal, not an error
    """Raised inside the forward pass once every site was read: what follows is not needed."""


class TransformersEngine:
    """Runs a model with transformers, on one machine."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.anatomy = loaded.anatomy
        self.tokenizer = loaded.tokenizer
        self.device = loaded.device

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do with its model."""
        return Capabilities("transformers", self.anatomy.kinds, self.anatomy.causal)

    def read(
        self, rows: Sequence[Row], sites: Sequence[Site], *, batch_tokens: int
    ) -> Iterator[tuple[list[int], dict[Site, Tensor]]]:
        """Run rows in batches of similar length and yield what was read (see `Engine.read`)."""
        for batch in plan([len(row.ids) for row in rows], batch_tokens):
            members = [rows[number] for number in batch]
            ids, mask = pad(members, self.tokenizer.padding, self.device)
            values = self.forward(ids, mask, sites)
            keep = _kept(members, self.device)
            yield batch, {site: value[keep].cpu() for site, value in values.items()}

    @torch.no_grad()
    def forward(self, ids: Tensor, mask: Tensor, sites: Sequence[Site]) -> dict[Site, Tensor]:
        """Run one padded batch as far as the last site and return the values.

        Args:
            ids: token ids `[batch, tokens]`.
            mask: 1 where there is a token, 0 where there is padding, `[batch, tokens]`.
            sites: what to read.

        Returns:
            For each site `[batch, tokens, d_model]`, padding included.

        Raises:
            InputError: the model has no such site.
        """
        values: dict[Site, Tensor] = {}
        with ExitStack() as hooks:
            for site in sites:
                hooks.enter_context(_reading(self.anatomy, site, values, len(sites)))
            hooks.enter_context(suppress(_AllRead))
            self.anatomy.base(input_ids=ids, attention_mask=mask, **self._without_cache())
        return values

    def _without_cache(self) -> dict[str, bool]:
        return {"use_cache": False} if self.anatomy.causal else {}


def _reading(anatomy: Any, site: Site, values: dict[Site, Tensor], wanted: int) -> Any:
    """Return a hook (a context manager) that puts a site's value into `values`."""
    module, side = anatomy.locate(site)

    def keep(value: Tensor) -> None:
        values[site] = value
        if len(values) == wanted:
            raise _AllRead

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(args[0] if args else kwargs["hidden_states"])

    def after(_: Any, args: tuple[Any, ...], output: Any) -> None:
        keep(output[0] if isinstance(output, tuple) else output)

    if side == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def _kept(rows: Sequence[Row], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return batch and token indices of the kept tokens, row after row."""
    batch = [torch.full((row.kept,), number) for number, row in enumerate(rows)]
    token = [torch.arange(row.start, len(row.ids)) for row in rows]
    return torch.cat(batch).to(device), torch.cat(token).to(device)
