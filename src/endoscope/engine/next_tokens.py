"""What a model would say next."""

from collections.abc import Sequence

import torch
from torch import Tensor

from endoscope.engine.batching import Row, pad
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
        rows = [Row(ids) for ids in encoded[start : start + AT_ONCE]]
        ids, mask = pad(rows, model.tokenizer.padding, model.device)
        hidden = model.loaded.anatomy.base(input_ids=ids, attention_mask=mask).last_hidden_state
        final = hidden[torch.arange(len(rows), device=model.device), mask.sum(1) - 1]
        parts.append(model.loaded.anatomy.logits(final).float().log_softmax(-1).cpu())
    return torch.cat(parts)
