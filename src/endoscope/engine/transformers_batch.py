"""Forward passes over the rows of a batch, with hooks that read and write sites on the way."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Protocol

import torch
from torch import Tensor

from endoscope.engine.hooks import visiting
from endoscope.engine.transformers_cache import SlotCache
from endoscope.models import Anatomy, Site


class Watch(Protocol):
    """What reads and writes while a pass runs."""

    @property
    def sites(self) -> Collection[Site]:
        """Where `visit` is called."""
        ...

    def begin(self, positions: Tensor, lengths: Sequence[int] | None = None) -> None:
        """Take the positions of the tokens that come, `[rows, tokens]`.

        Args:
            positions: absolute indices.
            lengths: how many tokens of each row are no padding; None: all.
        """
        ...

    def visit(self, site: Site, value: Tensor) -> Tensor:
        """Take the value of a site, `[rows, tokens, d_model]`; return what is to stand there."""
        ...


class TransformersBatch:
    """Rows of one model, each with its own length; row r of the cache is row r of a pass.

    Args:
        anatomy: of the model.
        device: where its weights are.
        dtype: in which it runs.
    """

    def __init__(self, anatomy: Anatomy, device: torch.device, dtype: torch.dtype) -> None:
        self._anatomy = anatomy
        self.device = device
        self.dtype = dtype
        self.cache = SlotCache()

    def chunk(
        self, first: int, chunks: Sequence[Sequence[int]], start: int, watch: Watch
    ) -> Tensor:
        """Run pieces of prompts in neighbouring rows, all from the same position on.

        Shorter ones are padded on the right. What padding leaves in the cache lies past the row's
        length, where the row's own next tokens go.

        Args:
            first: row of the first piece.
            chunks: token ids of each.
            start: the position of their first tokens.
            watch: reads and writes.

        Returns:
            What the model makes of them before its head, `[rows, tokens, d_model]`.
        """
        longest = max(map(len, chunks))
        ids = torch.tensor([[*chunk, *[0] * (longest - len(chunk))] for chunk in chunks])
        positions = torch.arange(start, start + longest, device=self.device)
        positions = positions.expand(len(chunks), -1)
        self.cache.look_at_chunk(first, len(chunks), start, longest)
        watch.begin(positions, [len(chunk) for chunk in chunks])
        return self._run(ids, positions, start + longest, watch)

    def tokens(self, ids: Sequence[int], positions: Sequence[int], watch: Watch) -> Tensor:
        """Run one token in each of the first rows; see `chunk`."""
        places = torch.tensor(positions, device=self.device)
        seen = max(positions) + 1
        self.cache.look_at_tokens(places, seen)
        watch.begin(places[:, None])
        return self._run(torch.tensor(ids)[:, None], places[:, None], seen, watch)

    def logits(self, final: Tensor) -> Tensor:
        """Return the logits `[rows, vocabulary]` of what a pass gave, `[rows, d_model]`."""
        return self._anatomy.logits(final)

    def _run(self, ids: Tensor, positions: Tensor, seen: int, watch: Watch) -> Tensor:
        with ExitStack() as hooks:
            for site in watch.sites:
                hooks.enter_context(visiting(self._anatomy, site, watch.visit))
            final: Tensor = self._anatomy.base(
                input_ids=ids.to(self.device),
                position_ids=positions,
                attention_mask=self._masks(positions, seen),
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state
        return final

    def _masks(self, positions: Tensor, seen: int) -> Tensor | dict[str, Tensor]:
        """Return what is added to attention scores, `[rows, 1, tokens, seen]`: 0 or almost -inf."""
        masks = {
            kind: self._mask(positions, seen, window)
            for kind, window in self._anatomy.windows.items()
        }
        return masks if self._anatomy.mask_by_layer else next(iter(masks.values()))

    def _mask(self, positions: Tensor, seen: int, window: int | None) -> Tensor:
        own = positions[:, None, :, None]
        others = torch.arange(seen, device=self.device)
        hidden = others > own
        if window is not None:
            hidden |= others <= own - window
        mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(hidden, torch.finfo(self.dtype).min)
