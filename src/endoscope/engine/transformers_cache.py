"""Keys and values of many requests: rows of one batch, each at its own length."""

import torch
from torch import Tensor

ROWS_FIRST = 4
TOKENS_FIRST = 64


class SlotCache:
    """What models of transformers take for `past_key_values`: they call `update`, layer by layer.

    Row r holds the keys and values of one request, its token p at position p. Rows are written in
    place. Past its length a row holds zeros, or what padding left there; the mask hides it, and it
    is always finite, as a weight of zero times NaN would be NaN. A forward pass runs on
    neighbouring rows, which `look_at_...` chooses, so that nothing is gathered or copied.

    The shapes are whatever the model gives: `[rows, heads, tokens, width]`, keys and values of
    different widths where attention is latent.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._window = slice(0)
        self._place: tuple[slice, slice, slice] | tuple[Tensor, slice, Tensor] | None = None
        self._seen = 0

    def reserve(self, rows: int, tokens: int, most_tokens: int) -> None:
        """Have room for so many rows of so many tokens, by doubling; `most_tokens` is the end."""
        if rows > self.rows:
            self.rows = max(rows, 2 * self.rows, ROWS_FIRST)
        if tokens > self.tokens:
            self.tokens = max(tokens, min(2 * self.tokens, most_tokens), TOKENS_FIRST)
        for layer, (keys, values) in self._layers.items():  # one by one: little is held twice
            self._layers[layer] = (self._grown(keys), self._grown(values))

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return sum(tensor.nbytes for pair in self._layers.values() for tensor in pair)

    def release(self) -> None:
        """Give all memory back."""
        self.rows = self.tokens = 0
        self._layers = {}

    def move(self, source: int, target: int, length: int) -> None:
        """Move the first `length` tokens of one row over those of another."""
        for pair in self._layers.values():
            for tensor in pair:
                tensor[target, :, :length] = tensor[source, :, :length]
        self.wipe(source)

    def wipe(self, row: int) -> None:
        """Forget a row, with what padding left there: it is NaN where the row's own text was."""
        for pair in self._layers.values():
            for tensor in pair:
                tensor[row] = 0

    def look_at_chunk(self, first: int, rows: int, start: int, tokens: int) -> None:
        """The next pass brings the same positions, `start` and on, of neighbouring rows."""
        self._window = slice(first, first + rows)
        self._place = (self._window, slice(None), slice(start, start + tokens))
        self._seen = start + tokens

    def look_at_tokens(self, positions: Tensor, seen: int) -> None:
        """The next pass brings one token for each of the first rows, at these positions."""
        self._window = slice(0, len(positions))
        rows = torch.arange(len(positions), device=positions.device)
        self._place = (rows, slice(None), positions)
        self._seen = seen

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Store what one layer brings, `[rows, heads, tokens, width]`; return all that it sees."""
        held = self._layers.get(layer)
        if held is None:
            held = self._layers[layer] = (self._new(keys), self._new(values))
        assert self._place is not None
        one_token = isinstance(self._place[0], Tensor)
        for tensor, new in zip(held, (keys, values), strict=True):
            tensor[self._place] = new[:, :, 0] if one_token else new
        held_keys, held_values = held
        return held_keys[self._window, :, : self._seen], held_values[self._window, :, : self._seen]

    def get_seq_length(self, layer: int = 0) -> int:
        """How many positions the pass sees; asked for by models that make their own positions."""
        return self._seen

    def _new(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.rows, like.shape[1], self.tokens, like.shape[3])

    def _grown(self, old: Tensor) -> Tensor:
        rows, _, tokens, _ = old.shape
        if (rows, tokens) == (self.rows, self.tokens):
            return old
        new = self._new(old)
        new[:rows, :, :tokens] = old
        return new
