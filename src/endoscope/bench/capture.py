"""How fast activations are read at a middle layer, against a limit and against peers."""

from collections.abc import Iterator
from typing import Any

from endoscope.bench.rows import Failure, Row, Subject
from endoscope.bench.runner import Options, Peer, chosen, job_file, loaded, take_turns
from endoscope.bench.texts import prose
from endoscope.bench.worker import Worker, WorkerError

MODELS = ("smollm2-135m-instruct", "gemma-3-270m")
TEXTS = 16
BATCH_TOKENS = 1024
PEERS = (
    Peer("limit", "capture_limit"),
    Peer("transformer_lens", "capture_transformer_lens", "capture"),
    Peer("nnsight", "capture_nnsight", "capture"),
    Peer("interp_engine", "capture_interp_engine", "capture", most_pairs=4),
    Peer("hidden_states", "capture_hidden_states"),
    Peer("self", "capture_endoscope"),
)


def run(options: Options) -> Iterator[Row | Failure]:
    """Compare tokens a second at `resid_post` of the middle layer.

    Every side reads the same tokens on the same device in the same precision, and keeps that one
    site. Ours starts from the texts; the others are given padded batches ready made: first the very
    batches that ours makes, then (the libraries) batches filled up to the same number of tokens in
    the order of the texts, as a loop around them would. The limit is the model's bare forward pass
    through the layers that are needed.
    """
    peers = chosen(PEERS, options)
    for model in options.models or MODELS:
        yield from _model(model, peers, options)


def setup_for(model: str, *, layer: int | None = None, dtype: str = "auto") -> dict[str, Any]:
    """Return what our side is to load; what it tells then goes to the others."""
    return {
        "model": model,
        "texts": prose(TEXTS),
        "batch_tokens": BATCH_TOKENS,
        "layer": layer,
        "dtype": dtype,
    }


def _model(model: str, peers: list[Peer], options: Options) -> Iterator[Row | Failure]:
    setup = setup_for(model)
    with Worker(job_file("capture_endoscope")) as ours:
        try:
            facts = loaded(ours, setup, options)
        except WorkerError as error:
            yield Subject("capture", model, "self").failure(error)
            return
        site = f"{model}, resid_post.{facts['layer']}, {facts['dtype']}"
        in_order = facts.pop("in_order")
        cases = [(site, facts, peer) for peer in peers]
        cases += [
            (f"{site}, texts in order", {**facts, "batches": in_order}, peer)
            for peer in peers
            if peer.against not in ("limit", "self")
        ]
        for case, given, peer in cases:
            subject = Subject("capture", case, peer.against)
            try:
                with peer.start() as theirs:
                    loaded(theirs, {**setup, **given}, options)
                    pairs = take_turns(ours, theirs, peer, options, model)
                yield subject.rate(pairs, facts["tokens"], "tokens/s")
            except WorkerError as error:
                yield subject.failure(error)
