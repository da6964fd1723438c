"""How fast text is generated, and what reading and changing it on the way costs."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

from endoscope.bench.pairs import Pair, median_ratio
from endoscope.bench.rows import Failure, Row, Subject
from endoscope.bench.runner import Options, Peer, chosen, job_file, loaded, take_turns
from endoscope.bench.texts import prose
from endoscope.bench.worker import Worker, WorkerError

MODELS = ("smollm2-135m-instruct",)
NEW_TOKENS = 64
SHORTEST, LONGEST = 7, 40  # words of a prompt
PEERS = (
    Peer("generate", "serve_generate"),
    Peer("limit", "serve_bare_loop"),
    Peer("plain", "serve_endoscope"),
    Peer("transformer_lens", "serve_transformer_lens", "capture"),
    Peer("nnsight", "serve_nnsight", "capture"),
    Peer("self", "serve_endoscope"),
)


class Load(NamedTuple):
    """What our side runs.

    Attributes:
        requests: how many at once.
        probes: whether each has a probe of its own.
        interventions: whether each has an intervention of its own.
    """

    requests: int
    probes: bool = False
    interventions: bool = False

    def __str__(self) -> str:
        count = "1 request" if self.requests == 1 else f"{self.requests} requests"
        each = [
            name
            for name, on in (("a probe", self.probes), ("an intervention", self.interventions))
            if on
        ]
        return f"{count}, each with {' and '.join(each)}" if each else count


PLAIN = (Load(16), Load(1))
ADDED = (
    Load(16, probes=True, interventions=True),
    Load(16, probes=True),
    Load(16, interventions=True),
    Load(1, probes=True),
    Load(1, interventions=True),
)
STEERED = (Load(16, interventions=True),)
LOADS = {"plain": ADDED, "transformer_lens": STEERED, "nnsight": STEERED}
"""What is compared with whom; with others, requests without anything added."""


def run(options: Options) -> Iterator[Row | Failure]:
    """Compare tokens a second of whole generations, greedy, in float32.

    Without anything added: against `generate` on the same padded batch, against a bare loop around
    the model (the limit), and against itself. With a probe or an intervention of its own on every
    request, or both: against the same requests plain. There the cost is told twice: by the paired
    ratio, and by the time that the added operations take beside that of a bare step. With an
    intervention of its own on every request also against libraries, which add the same vectors in
    a hook.
    """
    peers = chosen(PEERS, options)
    for model in options.models or MODELS:
        for peer in peers:
            for load in LOADS.get(peer.against, PLAIN):
                yield from _compare(model, load, peer, options)


def setup_for(model: str, load: Load) -> dict[str, Any]:
    """Return what a side is to load."""
    return {
        "model": model,
        "texts": prose(load.requests, shortest=SHORTEST, longest=LONGEST),
        "new_tokens": NEW_TOKENS,
        "probes": load.probes,
        "interventions": load.interventions,
    }


def _compare(model: str, load: Load, peer: Peer, options: Options) -> Iterator[Row | Failure]:
    subject = Subject("serve", f"{model}, {load}", peer.against)
    setup = setup_for(model, load)
    try:
        with Worker(job_file("serve_endoscope")) as ours, peer.start() as theirs:
            facts = loaded(ours, setup, options)
            same = Load(load.requests) if peer.against == "plain" else load
            loaded(theirs, {**setup_for(model, same), **facts}, options)
            pairs = take_turns(ours, theirs, peer, options, str(load))
            tokens = load.requests * NEW_TOKENS
            yield subject.rate(pairs, tokens, "tokens/s")
            mine, other = ours.result(), theirs.result()
            if peer.against == "plain":
                yield own_time(subject, pairs, mine["added"][1:])  # the first was to warm up
            else:
                check(mine["tokens"], other["tokens"])
    except WorkerError as error:
        yield subject.failure(error)


def own_time(subject: Subject, pairs: Sequence[Pair], added: Sequence[float]) -> Row:
    """Compare a bare step with one that has the added operations' own time on top.

    Args:
        subject: of the comparison.
        pairs: its repetitions.
        added: seconds that the added operations took in each of them.
    """
    bare = [pair.theirs.seconds for pair in pairs]
    ratios = [one / (one + own) for one, own in zip(bare, added, strict=True)]
    step = 1000 / NEW_TOKENS * median(bare)
    ratio = median_ratio(ratios)
    return subject.row(step / ratio.value, step, ratio, "ms/step", "own time of what is added")


def check(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> None:
    """Refuse a comparison of different texts.

    Near-ties may fall either way when a batch is made up differently, and from there on texts
    differ; most must be the same from end to end.

    Raises:
        WorkerError: they are not.
    """
    same = sum(list(a) == list(b) for a, b in zip(ours, theirs, strict=True))
    if same < 0.75 * len(ours) or any(len(a) != len(b) for a, b in zip(ours, theirs, strict=True)):
        raise WorkerError(f"The sides generated different texts ({same} of {len(ours)} equal).")
