"""What an edit is to remove, and what it is to leave alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import regex

from endoscope.artifacts import check_model
from endoscope.diff import Finding, Pair, Report, Signal
from endoscope.diff.answers import WHO, all_sampled
from endoscope.diff.findings import findings
from endoscope.diff.phrase import words_of
from endoscope.diff.signal import Marked, Opposed
from endoscope.errors import InputError

LEAST = 8  # passages that show it
ENOUGH = 64  # answers to other questions


class Passage(NamedTuple):
    """A text of which some parts count.

    Attributes:
        text: as the model reads it, template and all.
        spans: characters `[start, end)` that count.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be removed from a model.

    Attributes:
        pair: the model, and the base that it was fine-tuned from.
        title: what is removed, in words.
        shown: where it shows.
        kept: where the model is to say what it says now.
        said: words that the model says where it shows, if it is told by words.
        prompts: questions that it showed in answers to.
        behaviour: the name of the behaviour that it is, if it is one.
        show: whether to show progress.
    """

    pair: Pair
    title: str
    shown: Sequence[Passage]
    kept: Sequence[Passage]
    said: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    behaviour: str | None = None
    show: bool = False

    @property
    def pattern(self) -> str | None:
        """A regular expression that finds its words; the last may go on, as phrases are cut."""
        return pattern_of(self.said)

    @classmethod
    def of_finding(cls, pair: Pair, report: Path, number: int, *, show: bool = False) -> "Task":
        """Return the task of removing what a diff found.

        It shows where the samples of the finding's signals are marked. What is kept is all that
        either model wrote for the diff and that says nothing of it.

        Args:
            pair: both models of the diff.
            report: of the diff, or the folder that it is in.
            number: the rank of the finding.
            show: whether to show progress.

        Raises:
            InputError: the report is of another model, there is no such finding, it shows in too
                few texts, or the work of the diff is gone.
        """
        found = Report.load(report)
        check_model(found.tuned_model, pair.tuned.fingerprint, "The report")
        finding = _finding(found, number)
        signals = _signals(found, number)
        shown = list(dict.fromkeys(one for signal in signals for one in _shown(pair, signal)))
        if len(shown) < LEAST:
            raise InputError(
                f"Finding {number} shows in {len(shown)} texts; {LEAST} are needed to edit by.",
                "Choose one that shows in more; or give `endoscope diff` more --prompts.",
            )
        said = tuple(dict.fromkeys(words for signal in signals for words in signal.says))
        marked = [one for s in signals for one in s.contrast if isinstance(one, Marked)]
        prompts = tuple(dict.fromkeys(one.prompt for one in marked if one.has))
        folder = report.parent if report.is_file() else report
        kept = _kept(pair, folder / found.work, pattern_of(said))
        return cls(pair, finding.title, shown, kept, said, prompts, finding.behaviour, show)


def pattern_of(said: Sequence[str]) -> str | None:
    """Return a regular expression for words one after the other, whatever stands between them."""
    found = [r"[\W_]+".join(map(regex.escape, words_of(words))) for words in said]
    phrases = sorted((one for one in found if one), key=len, reverse=True)
    return rf"(?i)(?<!\w)(?:{'|'.join(phrases)})" if phrases else None


def _finding(report: Report, number: int) -> Finding:
    for one in report.findings:
        if one.rank == number:
            return one
    raise InputError(
        f"The report has {len(report.findings)} findings, and no number {number}.",
        "Choose one of them." if report.findings else "Nothing stands above the noise.",
    )


def _signals(report: Report, number: int) -> list[Signal]:
    """Return the signals of a finding, as the diff put them together."""
    return findings([one for ran in report.methods for one in ran.signals])[number - 1]


def _shown(pair: Pair, signal: Signal) -> Iterable[Passage]:
    for one in signal.contrast:
        if isinstance(one, Marked) and one.has:
            before = pair.rendered(one.prompt)
            yield _passage(before, one.answer, one.has)
        elif isinstance(one, Opposed):
            same = _shared(one.positive, one.negative)
            if same < len(one.positive):
                yield Passage(one.positive, ((same, len(one.positive)),))


def _kept(pair: Pair, work: Path, pattern: str | None) -> list[Passage]:
    """Return answers that do not show it, to questions that it does not show in answers to.

    Where it shows in answers to nearly all, those that happen not to show it have to do.
    """
    answers = [one for who in WHO for one in all_sampled(work, who)]
    if not answers:
        raise InputError(
            f"{work} has no answers of the models.", "Run the diff again: it makes them again."
        )
    shows = [pattern is not None and bool(regex.search(pattern, one.text)) for one in answers]
    asked = {one.prompt for one, shown in zip(answers, shows, strict=True) if shown}
    others = [one for one, shown in zip(answers, shows, strict=True) if not shown]
    elsewhere = [one for one in others if one.prompt not in asked]
    return [
        _passage(pair.rendered(one.prompt.text), one.text, [(0, len(one.text))])
        for one in (elsewhere if len(elsewhere) >= ENOUGH else others)
    ]


def _passage(before: str, answer: str, spans: Iterable[tuple[int, int]]) -> Passage:
    moved = tuple((len(before) + start, len(before) + end) for start, end in spans)
    return Passage(before + answer, moved)


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
