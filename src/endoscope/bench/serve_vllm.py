"""What Endoscope's plugin costs on vLLM."""

from collections.abc import Iterator
from typing import Any

import torch

import endoscope
from endoscope.bench.environments import peer_python, vllm_python
from endoscope.bench.rows import Failure, Row, Subject
from endoscope.bench.runner import Options, Peer, chosen, job_file, loaded, take_turns
from endoscope.bench.serve import LONGEST, MODELS, NEW_TOKENS, SHORTEST, Load, check, own_time
from endoscope.bench.texts import prose
from endoscope.bench.worker import Worker, WorkerError

REQUESTS = 16
STRENGTH = 0.05  # of interventions, in typical norms; what they cost does not depend on it
PEERS = (
    Peer("stock", "vllm_stock"),
    Peer("vllm_lens", "vllm_lens", "vllm"),
    Peer("interp_engine", "vllm_interp_engine", "vllm"),
    Peer("self", "vllm_endoscope"),
)
LOADS = (
    Load(REQUESTS),
    Load(REQUESTS, probes=True),
    Load(REQUESTS, interventions=True),
    Load(REQUESTS, probes=True, interventions=True),
)


def run(options: Options) -> Iterator[Row | Failure]:
    """Compare tokens a second of whole generations on vLLM, greedy, in float32, compiled.

    Against vLLM without the plugin: with it and nothing asked of it, with a probe of its own on
    every request, with an intervention of its own, and with both. The cost is told twice: by the
    paired ratio, and by the time that the added operations take beside that of a bare step.
    Against other plugins: the same of both sides, each run as it must be.
    """
    python = vllm_python()
    for model in options.models or MODELS:
        for peer in chosen(PEERS, options):
            for load in LOADS[:1] if peer.against == "self" else LOADS:
                yield from _compare(model, load, peer, options, python)


def _compare(
    name: str, load: Load, peer: Peer, options: Options, python: Any
) -> Iterator[Row | Failure]:
    subject = Subject("serve", f"{name} on vLLM, {load}", peer.against)
    setup = setup_for(name, load)
    theirs_python = python if peer.environment is None else peer_python(peer.environment)
    try:
        with (
            Worker(job_file("vllm_endoscope"), python) as ours,
            Worker(job_file(peer.job), theirs_python) as theirs,
        ):
            loaded(ours, setup, options)
            loaded(theirs, setup, options)
            pairs = take_turns(ours, theirs, peer, options, str(load))
            yield subject.rate(pairs, load.requests * NEW_TOKENS, "tokens/s")
            mine, other = ours.result(), theirs.result()
            if peer.against == "stock":
                yield own_time(subject, pairs, mine["added"])
            if peer.against != "stock" or not load.interventions:
                check(mine["tokens"], other["tokens"])
    except WorkerError as error:
        yield subject.failure(error)


def setup_for(name: str, load: Load) -> dict[str, Any]:
    """Return what a side is to load; each request has weights of a probe and a vector to add."""
    model = endoscope.open(name, dtype="float32")
    texts = prose(load.requests, shortest=SHORTEST, longest=LONGEST)
    norm = model.typical_norm(f"resid_post.{model.n_layers // 2}")
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(load.requests, 2, model.d_model, generator=random)
    vectors = torch.randn(load.requests, model.d_model, generator=random)
    vectors *= STRENGTH * norm / vectors.norm(dim=-1, keepdim=True)
    return {
        "folder": str(model.loaded.folder),
        "prompts": [list(one.ids) for one in model.tokenizer.encode_batch(texts)],
        "new_tokens": NEW_TOKENS,
        "layers": model.n_layers,
        "norm": norm,
        "strength": STRENGTH,
        "weights": weights.tolist(),
        "vectors": vectors.tolist(),
        "probes": load.probes,
        "interventions": load.interventions,
    }
