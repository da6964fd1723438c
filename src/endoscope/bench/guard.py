"""What redaction costs and how right it is, against programs that people use for it today."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endoscope.artifacts import Card, read_card
from endoscope.bench import accuracy
from endoscope.bench.accuracy import Corpus
from endoscope.bench.pairs import f1, f1_ratio
from endoscope.bench.rows import Failure, Row, Subject
from endoscope.bench.runner import Options, Peer, chosen, job_file, loaded, take_turns
from endoscope.bench.texts import personal
from endoscope.bench.worker import Worker, WorkerError
from endoscope.errors import InputError
from endoscope.guard.loading import shipped_probes
from endoscope.guard.scoring import language
from endoscope.probes import count_characters

TEXTS = 64
JUDGED, JUDGED_FOR_F1 = 4, 40  # a judge takes seconds a text
PEERS = (
    Peer("presidio", "guard_presidio", "guard"),
    Peer("ginza", "guard_ginza", "guard"),
    Peer("judge", "guard_judge", most_pairs=3),
    Peer("self", "guard_endoscope"),
)
SPEAKS = {"presidio": "en", "ginza": "ja"}
"""Peers that read one language only."""


@dataclass(frozen=True)
class Case:
    """One of our probes on one corpus."""

    probe: Path
    card: Card
    corpus: Corpus

    def __str__(self) -> str:
        readings = {1: "one reading", 2: "two readings"}[int(str(self.card.details["readings"]))]
        return f"{self.corpus.name}, {self.card.model_name}, {readings}"


def run(options: Options) -> Iterator[Row | Failure]:
    """Compare milliseconds a document, peak memory, and with labelled data character-level F1.

    Every side reads the same texts, given all at once so that it may batch them; only against a
    judge each text goes alone, on both sides, as a guard in front of a model works.
    """
    peers = chosen(PEERS, options)
    for probe in options.probes or shipped():
        card = read_card(probe, "probe")
        for corpus in _corpora(card, options):
            for peer in peers:
                if SPEAKS.get(peer.against, corpus.language) == corpus.language:
                    yield from _compare(Case(probe, card, corpus), peer, options)


def shipped() -> list[Path]:
    """Return the PII probes that come with Endoscope.

    Raises:
        InputError: none does.
    """
    found = [folder for name, folder in shipped_probes().items() if name.startswith("pii-")]
    if not found:
        raise InputError("No PII probe comes with this Endoscope.", "Name your own with --probe.")
    return found


def _corpora(card: Card, options: Options) -> list[Corpus]:
    """Return what to read: the user's data or our own texts, in languages that the probe reads."""
    details: dict[str, Any] = card.details
    reads = details.get("languages", ["en", "ja"])
    if options.data is None:
        return [Corpus(f"synthetic {name}", name, personal(name, TEXTS)) for name in reads]
    corpus = accuracy.read(options.data, options.documents)
    spoken = [language(text) for text in corpus.texts]
    corpus = corpus._replace(language=max(spoken, key=spoken.count))
    return [corpus] if corpus.language in reads else []


def _compare(case: Case, peer: Peer, options: Options) -> Iterator[Row | Failure]:
    subject = Subject("guard", str(case), peer.against)
    judged = peer.against == "judge"
    if judged:
        subject = Subject("guard", f"{case}, one by one", peer.against)
    texts = case.corpus.texts[:JUDGED] if judged else case.corpus.texts
    setup = _setup(case, texts, one_by_one=judged)
    try:
        with Worker(job_file("guard_endoscope")) as ours, peer.start() as theirs:
            loaded(ours, setup, options)
            loaded(theirs, setup, options)
            pairs = take_turns(ours, theirs, peer, options, str(case))
            yield subject.time(pairs, len(texts), "ms/document")
            memory = subject.memory(pairs)
            if memory is not None:
                yield memory
            if case.corpus.gold is not None:
                yield from _accuracy(case, ours, theirs, subject, options)
    except WorkerError as error:
        yield subject.failure(error)


def _accuracy(
    case: Case, ours: Worker, theirs: Worker, subject: Subject, options: Options
) -> Iterator[Row]:
    """Ask each side once for the spans of all labelled texts."""
    if subject.against == "self":
        return
    corpus = case.corpus
    most = JUDGED_FOR_F1 if subject.against == "judge" else len(corpus.texts)
    texts, gold = corpus.texts[:most], (corpus.gold or [])[:most]
    setup = _setup(case, texts, one_by_one=False)
    loaded(ours, setup, options)
    loaded(theirs, setup, options)
    found = []
    for side in (ours, theirs):
        side.repeat()
        found.append(side.result())
    for group in corpus.groups:
        labels = accuracy.GROUPS[group]
        a, b = (
            [
                count_characters(text, spans, right, labels).sum(0).tolist()
                for text, spans, right in zip(texts, side, gold, strict=True)
            ]
            for side in found
        )
        yield subject.row(f1(a), f1(b), f1_ratio(a, b), "F1", f"{group}, {len(texts)} documents")


def _setup(case: Case, texts: Sequence[str], *, one_by_one: bool) -> dict[str, Any]:
    return {
        "probe": str(case.probe.absolute()),
        "model": case.card.model_name,
        "texts": list(texts),
        "language": case.corpus.language,
        "one_by_one": one_by_one,
    }
