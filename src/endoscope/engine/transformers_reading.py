"""One text, read as it grows."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress

import torch
from torch import Tensor
from transformers import DynamicCache

from endoscope.engine.hooks import visiting
from endoscope.engine.model import Model
from endoscope.engine.transformers import AllRead, TransformersEngine
from endoscope.errors import InputError
from endoscope.models import Site


class IncrementalReader:
    """Reads sites of a model, token by token: keys and values of what was read are kept.

    Only the blocks up to the last site run.

    Args:
        model: one that sees nothing of what follows a token.
        sites: what to read.

    Attributes:
        tokens: how many tokens have been read and not dropped.

    Raises:
        InputError: the model looks ahead, or has no such site.
    """

    def __init__(self, model: Model, sites: Sequence[Site]) -> None:
        if not model.capabilities.causal:
            raise InputError(f"{model.name} sees what follows a token, so it cannot read a stream.")
        for site in sites:
            model.loaded.anatomy.check(site)
        self.tokens = 0
        self._model = model
        self._sites = frozenset(sites)
        # Without the model's configuration every layer keeps all tokens, and can drop the last.
        self._cache = DynamicCache()

    @torch.no_grad()
    def push(self, ids: Sequence[int]) -> dict[Site, Tensor]:
        """Read the next tokens; return `[n, d_model]` for each site."""
        values: dict[Site, Tensor] = {}

        def keep(site: Site, value: Tensor) -> Tensor:
            values[site] = value[0].clone()
            if len(values) == len(self._sites):
                raise AllRead
            return value

        anatomy, device = self._model.loaded.anatomy, self._model.device
        engine = self._model.engine
        assert isinstance(engine, TransformersEngine)
        with ExitStack() as hooks:
            hooks.enter_context(engine.lock)  # hooks are of the module: passes must not mix
            for site in self._sites:
                hooks.enter_context(visiting(anatomy, site, keep))
            hooks.enter_context(suppress(AllRead))
            anatomy.base(
                input_ids=torch.tensor([list(ids)], device=device),
                past_key_values=self._cache,
                use_cache=True,
            )
        self.tokens += len(ids)
        return values

    def crop(self, length: int) -> None:
        """Drop all tokens after the first `length`."""
        if not 0 <= length <= self.tokens:
            raise ValueError(f"{length} of {self.tokens} tokens cannot be kept")
        if not length:
            self._cache = DynamicCache()
        elif length < self.tokens:
            self._cache.crop(length - self.tokens)  # negative: how many to drop
        self.tokens = length
