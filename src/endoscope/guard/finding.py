"""What a guard finds in a text that grows, as soon as no text to come can change it."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch

from endoscope.guard import boundaries
from endoscope.guard.spans import Run, Runs, Span, flagged, may_join, spans_of
from endoscope.guard.unfinished import unfinished_from
from endoscope.guard.validators import Candidate, Touched, Validator
from endoscope.guard.words import first_unfinished, share, words
from endoscope.readouts import TokenScores

PATIENT = 1024
"""Characters of a value that has begun, after which it is not looked at for every token."""


class Text(NamedTuple):
    """The end of a text, as far as it has come.

    Attributes:
        text: as it is.
        searchable: as `unfinished_from` takes it.
        normal: as validators read it.
        searchable_normal: both.
        known: how many characters of `normal` are what they will be.
        ended: whether nothing more comes.
    """

    text: str
    searchable: str
    normal: str
    searchable_normal: str
    known: int
    ended: bool


class ProbeFinder:
    """Makes spans of the scores of tokens.

    Args:
        labels: the classes of the scores.
        thresholds: the least probability for each label that is wanted.

    Attributes:
        found: the spans that are certain.
        hold: where the first of those begins that are not.
    """

    def __init__(self, labels: tuple[str, ...], thresholds: Mapping[str, float]) -> None:
        self.found: list[Span] = []
        self.hold = 0
        self._labels = labels
        self._thresholds = thresholds
        self._offsets = torch.zeros(0, 2, dtype=torch.int64)
        self._probabilities = torch.zeros(0, len(labels))
        self._words: list[tuple[int, int]] = []  # those that tokens may still lie in
        self._next_word = 0
        self._runs = Runs()
        self._ended: list[Run] = []  # whose surroundings are not known yet

    def push(self, offsets: torch.Tensor, probabilities: torch.Tensor) -> None:
        """Take the scores of the next tokens: `[tokens, 2]`, `[tokens, labels]`."""
        self._offsets = torch.cat([self._offsets, offsets])
        self._probabilities = torch.cat([self._probabilities, probabilities])

    def advance(self, text: Text, scored: int) -> None:
        """Find what is certain now.

        Args:
            text: what has come.
            scored: all tokens that begin before this character have been pushed.
        """
        rows, frontier = self._certain(text, scored)
        batch = TokenScores(self._offsets[:rows], self._probabilities[:rows], self._labels)
        self._offsets, self._probabilities = self._offsets[rows:], self._probabilities[rows:]
        for token in flagged(share(text.text, batch, self._words), self._thresholds):
            self._ended += self._runs.add(text.text, token)
        self._words = [word for word in self._words if word[1] > frontier]
        run = self._runs.open
        if run and (text.ended or not may_join(text.text, run, frontier)):
            self._ended += self._runs.finish()
        self._ended = [run for run in self._ended if not self._complete(text, run)]
        unknown = [*self._ended, self._runs.open] if self._runs.open else self._ended
        self.hold = min(
            (boundaries.first_reached(text.text, run.start, run.label) for run in unknown),
            default=frontier,
        )
        for label in () if text.ended else self._thresholds:
            first = boundaries.first_reached(text.text, frontier, label)
            self.hold = min(self.hold, first)

    def forget(self, count: int) -> None:
        """Count from a later character on."""
        self.found = _shifted(self.found, count)
        self.hold -= count
        self._offsets = self._offsets - count
        self._words = [(start - count, end - count) for start, end in self._words]
        self._next_word -= count
        runs = [*self._ended, self._runs.open] if self._runs.open else self._ended
        for run in runs:
            run.tokens = [t._replace(start=t.start - count, end=t.end - count) for t in run.tokens]
            run.start, run.end = run.start - count, run.end - count

    def _certain(self, text: Text, scored: int) -> tuple[int, int]:
        """How many tokens have their final scores, and where the first of the others begins."""
        if text.ended:
            self._words += words(text.text, self._next_word)
            return len(self._offsets), len(text.text)
        limit = first_unfinished(text.searchable, self._next_word)
        for start, end in words(text.text, self._next_word):
            if start >= limit:
                break
            self._words.append((start, end))
            self._next_word = end
        limit = min([limit, *(start for start, end in self._words if end > scored)])
        starts, ends = self._offsets.T.tolist()
        while True:
            rows = next((row for row, end in enumerate(ends) if end > limit), len(ends))
            frontier = starts[rows] if rows < len(ends) else scored
            # A word that has tokens among those that wait has to wait with all of its own; one may
            # begin before its word, with white space, and so before the first of those that wait.
            first = min(ends[rows:], default=len(text.text) + 1)
            reached = max([frontier, *ends[:rows]])
            cut = [start for start, end in self._words if start < reached and first <= end]
            if not cut or cut[0] >= limit:
                return rows, frontier
            limit = cut[0]

    def _complete(self, text: Text, run: Run) -> bool:
        if not text.ended and not boundaries.is_known(text.text, run.end, run.label):
            return False
        self.found += spans_of(text.text, run)
        return True


class FormFinder:
    """Finds what a validator finds.

    Args:
        validator: which.

    Attributes:
        hold: where the first value begins that is not certain.
    """

    def __init__(self, validator: Validator) -> None:
        self.validator = validator
        self.hold = 0
        self._place = 0  # where the search goes on
        self._known = 0  # how much of the text was searched

    def advance(self, text: Text) -> list[Candidate]:
        """Return the candidates that have become certain.

        A long value that has begun is searched again when it has grown by a part of itself: for
        every token, a key of n characters would take time n squared.
        """
        found: list[Candidate] = []
        held = self._known - self.hold
        if held > PATIENT and text.known - self._known < held // 32 and not text.ended:
            return found
        self._known = text.known
        while True:
            self.hold = len(text.text) if text.ended else self._first_unfinished(text)
            match = self.validator.form.search(text.normal, self._place, text.known)
            if match is None or match.start() >= self.hold:
                self._place = max(self._place, self.hold)
                return found
            if candidate := self.validator.judge(text.normal, match):
                found.append(candidate)
            self._place = match.end()

    def _first_unfinished(self, text: Text) -> int:
        start = max(0, self._place - self.validator.overlap)
        return unfinished_from(self.validator.unfinished, text.searchable_normal, start, text.known)

    def forget(self, count: int) -> None:
        """Count from a later character on."""
        self.hold -= count
        self._place -= count
        self._known -= count


class Finder:
    """Finds what a policy names: the probe's spans, and what validators find and confirm.

    Args:
        labels: the classes of the scores.
        thresholds: for the labels that are wanted of the probe.
        wanted: the labels that are wanted at all.
        validators: what looks for forms.

    Attributes:
        hold: no span that is yet to be found begins before this character.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        thresholds: Mapping[str, float],
        wanted: Collection[str],
        validators: Sequence[Validator],
    ) -> None:
        self.hold = 0
        self.probe = ProbeFinder(labels, thresholds)
        self._forms = [FormFinder(v) for v in validators if v.label in wanted]
        self._undecided: list[tuple[str, Candidate]] = []
        self._confirmed: list[Span] = []

    @property
    def spans(self) -> list[Span]:
        """The spans that are certain and not yet taken. They may overlap."""
        return self.probe.found + self._confirmed

    def advance(self, text: Text, scored: int) -> None:
        """Find what is certain now; see `ProbeFinder.advance`."""
        self.probe.advance(text, scored)
        for form in self._forms:
            label = form.validator.label
            self._undecided += [(label, candidate) for candidate in form.advance(text)]
        self._decide(len(text.text) if text.ended else self.probe.hold)
        self.hold = (
            min(
                self.probe.hold,
                *(form.hold for form in self._forms),
                *(candidate.start for _, candidate in self._undecided),
            )
            if self._forms
            else self.probe.hold
        )

    def take(self, end: int) -> list[Span]:
        """Return the spans that end up to a character, and forget them."""
        taken = [span for span in self.spans if span.end <= end]
        self.probe.found = [span for span in self.probe.found if span.end > end]
        self._confirmed = [span for span in self._confirmed if span.end > end]
        return taken

    def forget(self, count: int) -> None:
        """Count from a later character on."""
        self.hold -= count
        self.probe.forget(count)
        for form in self._forms:
            form.forget(count)
        self._confirmed = _shifted(self._confirmed, count)
        self._undecided = [
            (label, c._replace(start=c.start - count, end=c.end - count))
            for label, c in self._undecided
        ]

    def _decide(self, probed: int) -> None:
        """Confirm candidates by the probe's spans, all of which are known up to a character."""
        undecided = []
        for label, candidate in self._undecided:
            if candidate.sure or candidate.end <= probed:
                touched = Touched(span for span in self.probe.found if span.label == label)
                self._confirmed += touched.confirm(candidate, label)
            else:
                undecided.append((label, candidate))
        self._undecided = undecided


def _shifted(spans: list[Span], count: int) -> list[Span]:
    return [s._replace(start=s.start - count, end=s.end - count) for s in spans]
