"""What a model would say next."""

from collections.abc import Sequence

import torch
from torch import Tensor

from endoscope.engine.model import Model
from endoscope.errors import InputError

AT_ONCE = 16  # texts


@torch.no_grad()
def next_tokens(model: Model, texts: Sequence[str]) -> Tensor:
    """Return the log-probabilities of what follows each text, `[texts, vocabulary]`, on the CPU.

    Raises:
        InputError: the model is intervened on, or a text cannot be read.
    """
    if model.interventions:
        raise InputError("The model is read as it is.", "Leave `intervene` first.")
    encoded = [model.tokenizer.encode(text).ids for text in texts]
    parts = []
    for start in range(0, len(encoded), AT_ONCE):
        rows = encoded[start : start + AT_ONCE]
        longest = max(map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        last = mask.sum(1) - 1
        hidden = model.loaded.anatomy.base(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device)
        ).last_hidden_state
        final = hidden[torch.arange(len(rows), device=model.device), last.to(model.device)]
        parts.append(model.loaded.anatomy.logits(final).float().log_softmax(-1).cpu())
    return torch.cat(parts)
