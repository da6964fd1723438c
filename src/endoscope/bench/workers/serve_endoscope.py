"""Generate with Endoscope's streaming engine: requests in, a step a token out."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

import endoscope
from endoscope import Site
from endoscope.bench.clock import Clock
from endoscope.engine.passes import Pass
from endoscope.engine.requests import Request, Sampling
from endoscope.readouts import FeatureSpec, LogisticHead, Readout


def load(setup: dict[str, Any]) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """Open the model and make the requests."""
    model = endoscope.open(setup["model"], dtype="float32")
    site = Site.parse(f"resid_post.{model.n_layers // 2}")
    prompts = [tuple(one.ids) for one in model.tokenizer.encode_batch(setup["texts"])]
    random = torch.Generator().manual_seed(0)
    added_vectors = []
    sampling = Sampling(setup["new_tokens"], temperature=0.0, ignore_eos=True)
    requests = []
    for number, ids in enumerate(prompts):
        readouts, interventions = {}, []
        if setup["probes"]:
            weight = torch.randn(2, model.d_model, generator=random)
            head = LogisticHead(weight, torch.zeros(2), ("O", "X"))
            readouts["probe"] = Readout(FeatureSpec((site,)), head)
        if setup["interventions"]:
            vector = torch.randn(model.d_model, generator=random)
            # The cost of an intervention does not depend on its strength.
            strength = setup.get("strength") or 0.05
            interventions.append(endoscope.add(vector, strength, site=site))
            distance = strength * model.typical_norm(site)
            added_vectors.append((distance * vector / vector.norm()).tolist())
        requests.append(Request(str(number), ids, sampling, readouts, tuple(interventions)))
    clock = Clock(*((Pass, name) for name in ("visit", "read_tokens", "read_chunks")))
    added: list[float] = []

    def run() -> dict[str, Any]:
        clock.seconds = 0.0
        tokens = defaultdict(list)
        for name, step in model.engine.run(requests):
            tokens[name].append(step.token_id)
        added.append(clock.seconds)
        return {"tokens": [tokens[request.id] for request in requests], "added": added}

    facts = {
        "folder": str(model.loaded.folder),
        "prompts": [list(ids) for ids in prompts],
        "padding": model.tokenizer.padding,
        "layer": site.layer,
        "vectors": added_vectors,
        "packages": ["endoscope", "torch", "transformers"],
    }
    return run, facts
