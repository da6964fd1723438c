"""Sampling from what sets two models apart, exaggerated."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from endoscope.engine.batching import Row, pad
from endoscope.engine.capture import Text
from endoscope.engine.generate import prompt_ids
from endoscope.engine.model import Model
from endoscope.errors import InputError

ALPHA = 3.0
PLAUSIBLE = 0.005


@torch.no_grad()
def amplified(
    base: Model,
    tuned: Model,
    prompts: Sequence[Text],
    *,
    alpha: float = ALPHA,
    plausible: float = PLAUSIBLE,
    max_tokens: int = 48,
    seed: int = 0,
) -> list[str]:
    """Continue prompts with `log p_tuned + alpha (log p_tuned - log p_base)`.

    Only tokens are drawn that the tuned model itself finds likely, so that the text stays one that
    it could have written: as in contrastive decoding (Li et al. 2023), and with the sign of
    amplification towards the tuned model (Liu et al. 2021, "DExperts"). Where a text ends is not
    amplified: a model that has learned to be a little briefer would say next to nothing.

    Args:
        base: whose part is taken away; run by transformers, as the other is.
        tuned: a model of the same architecture and tokenizer.
        prompts: texts or conversations.
        alpha: how much what was changed counts; 0 samples the tuned model.
        plausible: the least probability of a token, as a share of that of the most probable one.
        max_tokens: of a continuation.
        seed: of the draws.

    Raises:
        InputError: a model is intervened on, or a prompt cannot be read.
    """
    if base.interventions or tuned.interventions:
        raise InputError("Models are compared as they are.", "Leave `intervene` first.")
    both = [model.loaded.module for model in (base, tuned)]
    device, ends = tuned.device, tuned.loaded.ends
    rows = [prompt_ids(tuned.engine, prompt) for prompt in prompts]
    padding = tuned.tokenizer.padding
    ids, mask = pad([Row(row) for row in rows], padding, device, left=True)  # all go on together
    random = torch.Generator().manual_seed(seed)
    caches: list[Any] = [None, None]
    written: list[list[int]] = [[] for _ in rows]
    going = list(range(len(rows)))  # which prompt stands at each place of the batch
    for _ in range(max_tokens):
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logs: list[Tensor] = []
        for number, module in enumerate(both):
            out = module(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=caches[number],
                use_cache=True,
                logits_to_keep=1,
            )
            caches[number] = out.past_key_values
            logs.append(out.logits[:, -1].float().log_softmax(-1).cpu())
        chosen: list[int] = _draw(logs[0], logs[1], ends, alpha, plausible, random).tolist()
        kept = [place for place, token in enumerate(chosen) if token not in ends]
        for place in kept:
            written[going[place]].append(chosen[place])
        if not kept:
            break
        if len(kept) < len(going):  # amplified answers are often short: who is done leaves
            which = torch.tensor(kept, device=device)
            mask = mask[which]
            for cache in caches:
                cache.batch_select_indices(which)
        going = [going[place] for place in kept]
        ids = torch.tensor([[chosen[place]] for place in kept], device=device)
        mask = torch.cat([mask, mask.new_ones(len(kept), 1)], dim=1)
    return [tuned.tokenizer.hf.decode(one, skip_special_tokens=True) for one in written]


def _draw(
    base: Tensor,
    tuned: Tensor,
    ends: Collection[int],
    alpha: float,
    plausible: float,
    random: torch.Generator,
) -> Tensor:
    """Draw a token for each row of log-probabilities `[rows, vocabulary]`."""
    least = tuned.max(-1, keepdim=True).values + torch.tensor(plausible).log()
    change = tuned - base
    change[:, list(ends)] = 0.0
    scores = (tuned + alpha * change).masked_fill(tuned < least, -torch.inf)
    return torch.multinomial(scores.softmax(-1), 1, generator=random)[:, 0]
