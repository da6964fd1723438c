"""The typical norms of a model that vLLM's own server runs, measured through its client."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor
from vllm import SamplingParams

from endoscope.engine.norms import median_norms, reference_texts
from endoscope.engine.vllm.ordering import Ordering
from endoscope.engine.vllm.reports import first_fault
from endoscope.engine.vllm.seams import frontend
from endoscope.engine.vllm.seams.settings import KEY
from endoscope.errors import InputError
from endoscope.models import LoadedModel, Site

_AT_ONCE = 8  # sites whose values travel together


async def typical_norms(client: Any, loaded: LoadedModel, ordering: Ordering) -> dict[Site, float]:
    """Return the median norm at each site, over the reference texts without their first tokens."""
    layers = range(loaded.anatomy.n_layers)
    every = [Site(layer, kind) for kind in ordering.kinds for layer in layers]
    sites = list(ordering.sites) or every
    texts = [one.ids for one in loaded.tokenizer.encode_batch(reference_texts())]
    found: dict[Site, float] = {}
    for start in range(0, len(sites), _AT_ONCE):
        some = sites[start : start + _AT_ONCE]
        found |= median_norms([await _read(client, ordering, ids, some) for ids in texts])
    return found


async def _read(
    client: Any, ordering: Ordering, ids: Sequence[int], sites: Sequence[Site]
) -> dict[Site, Tensor]:
    name = uuid4().hex
    order = ordering.order(sites=sites, first=1)
    params = SamplingParams(max_tokens=1, detokenize=False, extra_args={KEY: order.text})
    frontend.expect(name)
    try:
        async for _ in client.generate({"prompt_token_ids": list(ids)}, params, name):
            pass
        reports = frontend.take(name)
        if fault := first_fault(reports):
            raise InputError(fault)
        reports = [one for one in reports if one.values]
    finally:
        frontend.forget(name)
    return {site: torch.cat([one.values[site] for one in reports]) for site in sites}
