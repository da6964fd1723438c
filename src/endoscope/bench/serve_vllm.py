"""What Endoscope's plugin costs on vLLM."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

import endoscope
from endoscope.bench.environments import peer_python, vllm_python
from endoscope.bench.pairs import Pair, run_pairs
from endoscope.bench.rows import Failure, Row, Subject
from endoscope.bench.runner import Options, Peer, chosen, job_file, loaded
from endoscope.bench.serve import LONGEST, MODELS, NEW_TOKENS, SHORTEST, Load, check, own_time
from endoscope.bench.texts import prose
from endoscope.bench.worker import Measurement, Worker, WorkerError
from endoscope.progress import progress

REQUESTS = 16
REPETITIONS = 3  # of each load, once both sides are started
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

    A process that is started again is a few percent faster or slower than the one before it, more
    than what is measured. So a pair is a start of both sides: the median of what each took. Give an
    even number of pairs: the sides take turns in being started first.
    """
    python = vllm_python()
    for model in options.models or MODELS:
        for peer in chosen(PEERS, options):
            yield from _compare(model, peer, options, python)


class _Side(NamedTuple):
    """A side, and what it is to do."""

    worker: Worker
    load: Load

    def repeat(self) -> Measurement:
        return self.worker.repeat(probes=self.load.probes, interventions=self.load.interventions)


class _Start(NamedTuple):
    """What a start of both sides brought for a load: the middle repetition, and our own time."""

    pair: Pair
    added: float


def _compare(name: str, peer: Peer, options: Options, python: Path) -> Iterator[Row | Failure]:
    loads = LOADS[:1] if peer.against == "self" else LOADS
    subjects = {load: Subject("serve", f"{name} on vLLM, {load}", peer.against) for load in loads}
    found: dict[Load, list[_Start]] = {load: [] for load in loads}
    setup = setup_for(name)
    try:
        with progress(f"starts against {peer.against}", options.pairs, show=options.show) as step:
            for number in range(options.pairs):
                for load, start in _start(number, setup, loads, peer, options, python):
                    found[load].append(start)
                step(1)
    except WorkerError as error:  # what earlier starts brought counts
        yield Subject("serve", f"{name} on vLLM", peer.against).failure(error)
    for load, starts in found.items():
        if not starts:
            continue
        pairs = [one.pair for one in starts]
        yield subjects[load].rate(pairs, load.requests * NEW_TOKENS, "tokens/s")
        if peer.against == "stock":
            yield own_time(subjects[load], pairs, [one.added for one in starts])


def _start(
    number: int,
    setup: dict[str, Any],
    loads: Sequence[Load],
    peer: Peer,
    options: Options,
    python: Path,
) -> Iterator[tuple[Load, _Start]]:
    """Start both sides once; yield what each load took.

    Every other time theirs is started first: what is started first is 2% slower than the other.
    """
    theirs_python = python if peer.environment is None else peer_python(peer.environment)
    sides = {"ours": ("vllm_endoscope", python), "theirs": (peer.job, theirs_python)}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for side in sorted(sides, reverse=bool(number % 2)):
            job, interpreter = sides[side]
            workers[side] = stack.enter_context(Worker(job_file(job), interpreter))
            loaded(workers[side], setup, options)
        ours, theirs = workers["ours"], workers["theirs"]
        for load in loads:
            several = run_pairs(_Side(ours, load), _Side(theirs, load), REPETITIONS)
            mine, other = ours.result(), theirs.result()
            if peer.against == "stock" and load.interventions:
                if mine["tokens"] == other["tokens"]:
                    raise WorkerError("Interventions changed no text.")
            else:
                check(mine["tokens"], other["tokens"])
            pair = Pair(*(_middle(side) for side in zip(*several, strict=True)))
            yield load, _Start(pair, mine["added"])


def _middle(measurements: Sequence[Measurement]) -> Measurement:
    seconds = median(one.seconds for one in measurements)
    return Measurement(seconds, measurements[-1].peak_mib)


def setup_for(name: str) -> dict[str, Any]:
    """Return what a side is to load; each request has weights of a probe and a vector to add.

    Of vLLM, all sides are told the same.
    """
    model = endoscope.open(name, dtype="float32")
    texts = prose(REQUESTS, shortest=SHORTEST, longest=LONGEST)
    norm = model.typical_norm(f"resid_post.{model.n_layers // 2}")
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(REQUESTS, 2, model.d_model, generator=random)
    vectors = torch.randn(REQUESTS, model.d_model, generator=random)
    vectors *= STRENGTH * norm / vectors.norm(dim=-1, keepdim=True)
    return {
        "folder": str(model.loaded.folder),
        "engine": {
            "dtype": "float32",
            "max_model_len": 512,
            "max_num_seqs": REQUESTS,
            "enable_prefix_caching": False,  # each run is the same
        },
        "sampling": {
            "max_tokens": NEW_TOKENS,
            "temperature": 0,
            "ignore_eos": True,
            "detokenize": False,
        },
        "prompts": [list(one.ids) for one in model.tokenizer.encode_batch(texts)],
        "layers": model.n_layers,
        "norm": norm,
        "strength": STRENGTH,
        "weights": weights.tolist(),
        "vectors": vectors.tolist(),
    }
