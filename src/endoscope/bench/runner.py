"""Run a benchmark: our side, warm, against each of the others in turn."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from endoscope.bench.environments import peer_python
from endoscope.bench.pairs import Pair, run_pairs
from endoscope.bench.rows import Failure, Row
from endoscope.bench.worker import JOBS, Worker
from endoscope.errors import InputError
from endoscope.progress import progress


@dataclass(frozen=True)
class Peer:
    """Another side.

    Attributes:
        against: its name in the rows.
        job: its file in `workers/`, without the ending.
        environment: which of the peers' environments it runs in; ours if None.
        most_pairs: fewer pairs than asked for, where one repetition takes minutes.
    """

    against: str
    job: str
    environment: str | None = None
    most_pairs: int | None = None

    def start(self) -> Worker:
        """Start its process.

        Raises:
            InputError: its environment is not installed.
        """
        python = None if self.environment is None else peer_python(self.environment)
        return Worker(job_file(self.job), python)


@dataclass
class Options:
    """What the user asked for.

    Attributes:
        models: names of models; those of the benchmark if empty.
        against: names of the other sides; all that are installed if empty.
        pairs: repetitions of each side.
        probes: folders of probes, for benchmarks that use some; those that are shipped if empty.
        data: a labelled file, for benchmarks that report how right each side is.
        documents: most documents of `data` to take.
        methods: of editing; all if empty.
        trials: of the search for an ablation.
        show: whether to show progress.
        versions: filled while running: what each side ran.
    """

    models: Sequence[str] = ()
    against: Sequence[str] = ()
    pairs: int = 8
    probes: Sequence[Path] = ()
    data: Path | None = None
    methods: Sequence[str] = ()
    trials: int = 12
    documents: int = 200
    show: bool = True
    versions: dict[str, str] = field(default_factory=dict)


class Bench(Protocol):
    """A benchmark: yields a row as soon as it is known."""

    def __call__(self, options: Options) -> Iterator[Row | Failure]:
        """Run it."""
        ...


def job_file(job: str) -> Path:
    """Return the file of a job."""
    return JOBS / f"{job}.py"


def chosen(peers: Sequence[Peer], options: Options) -> list[Peer]:
    """Return the peers to compare with: those asked for, or all that are installed.

    Raises:
        InputError: one asked for is unknown to this benchmark or not installed.
    """
    known = {peer.against: peer for peer in peers}
    for name in options.against:
        if name not in known:
            raise InputError(
                f"This benchmark does not compare with {name!r}.",
                f"Choose from: {', '.join(known)}.",
            )
        if known[name].environment is not None:
            peer_python(str(known[name].environment))
    if options.against:
        return [known[name] for name in options.against]
    found = [peer for peer in peers if _installed(peer)]
    if len(found) < len(peers):
        left_out = ", ".join(peer.against for peer in peers if peer not in found)
        print(f"Left out, for want of `make peers`: {left_out}", file=sys.stderr)
    return found


def _installed(peer: Peer) -> bool:
    try:
        if peer.environment is not None:
            peer_python(peer.environment)
    except InputError:
        return False
    return True


def loaded(worker: Worker, setup: dict[str, Any], options: Options) -> dict[str, Any]:
    """Load a side, note its versions, and return what else it tells about itself."""
    facts = worker.load(setup)
    options.versions.update(facts.pop("versions"))
    return facts


def take_turns(
    ours: Worker, theirs: Worker, peer: Peer, options: Options, title: str
) -> list[Pair]:
    """Run the pairs of one comparison, with a progress bar."""
    count = min(options.pairs, peer.most_pairs or options.pairs)
    with progress(f"{title} against {peer.against}", count, show=options.show) as advance:
        return run_pairs(ours, theirs, count, advance)
