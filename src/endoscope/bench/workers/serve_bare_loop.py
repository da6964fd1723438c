"""The limit of generating: a bare greedy loop around the model, on one batch padded on the left.

All rows are at the same position, so keys and values are written into one slice of a cache that was
made before; nothing is known of requests, and nothing is looked at between two tokens.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM


class FixedCache:
    """What the model takes for `past_key_values`: a slice of tensors that were made before."""

    def __init__(self, layers: int, shape: tuple[int, ...]) -> None:
        self.keys = [torch.zeros(shape) for _ in range(layers)]
        self.values = [torch.zeros(shape) for _ in range(layers)]
        self.start = self.end = 0

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> Any:
        """Store what a layer brings, and return all that it sees."""
        held_keys, held_values = self.keys[layer], self.values[layer]
        held_keys[:, :, self.start : self.end] = keys
        held_values[:, :, self.start : self.end] = values
        return held_keys[:, :, : self.end], held_values[:, :, : self.end]

    def get_seq_length(self, layer: int = 0) -> int:
        """How many positions were there before this pass."""
        return self.start


def load(setup: dict[str, Any]) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """Open the model, and make the cache and the masks."""
    model = AutoModelForCausalLM.from_pretrained(setup["folder"], dtype=torch.float32).eval()
    config, prompts, new = model.config, setup["prompts"], setup["new_tokens"]
    longest = max(map(len, prompts))
    most = longest + new
    pads = torch.tensor([longest - len(prompt) for prompt in prompts])
    ids = torch.tensor([[setup["padding"]] * (longest - len(p)) + p for p in prompts])
    places = torch.arange(most)
    seen = places[None, :] >= pads[:, None]  # [batch, most]
    causal = places[:longest, None] >= places[None, :longest]
    hidden = torch.finfo(torch.float32).min
    prompt_mask = torch.where(causal & seen[:, None, None, :longest], 0.0, hidden)
    token_mask = torch.where(seen[:, None, None, :], 0.0, hidden)
    positions = (places[None, :] - pads[:, None]).clamp(min=0)
    heads = config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = FixedCache(config.num_hidden_layers, (len(prompts), heads, most, width))

    def forward(tokens: Tensor, start: int, mask: Tensor) -> Tensor:
        cache.start, cache.end = start, start + tokens.shape[1]
        final = model.model(
            input_ids=tokens,
            position_ids=positions[:, cache.start : cache.end],
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        best: Tensor = model.lm_head(final[:, -1:]).argmax(-1)
        return best

    @torch.inference_mode()
    def run() -> dict[str, Any]:
        token = forward(ids, 0, prompt_mask)
        out = [token]
        for place in range(longest, most - 1):
            token = forward(token, place, token_mask[..., : place + 1])
            out.append(token)
        return {"tokens": torch.cat(out, dim=1).tolist()}

    return run, {"packages": ["torch", "transformers"]}
