"""From the scores of tokens to spans of characters."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import regex

from endoscope.guard import boundaries
from endoscope.guard.context import named_otherwise
from endoscope.readouts import TokenScores


class Span(NamedTuple):
    """A piece of a text that is something.

    Attributes:
        start: first character, in code points.
        end: end, exclusive.
        label: what it is.
        score: how sure, 0 to 1: the mean of its tokens' calibrated probabilities, which is the
            expected share of them that are truly of this label; 1 if a validator found it.
    """

    start: int
    end: int
    label: str
    score: float


# What may stand unflagged between two flagged tokens of one value.
_GAP = r"[  \t\u00a0\u3000]?"
_JOINED_BY = {
    "NAME": regex.compile(r"[  \u00a0\u3000]?|[・･=＝\-‐’'.]|\. |, (?=[JS]r)"),
    "ADDRESS": regex.compile(r"[\s,、.#\-‐−－ー]{0,3}"),
    "PHONE": regex.compile(r"[\s\-‐–−－ー.()/]{0,2}"),
    "ID": regex.compile(r"[ \-‐–−－]?"),
    "DATE_OF_BIRTH": regex.compile(r"[ \-/.,年月]?|, "),
    "EMAIL": regex.compile(r"[@.＠．_\-+]?"),
    "IP": regex.compile(r"[.:]{0,2}"),
    "SECRET": regex.compile(r""),
    "USERNAME": regex.compile(r"[._\-]?"),
}
_JOINED = regex.compile(_GAP)
_LONGEST_GAP = 3
# Between two names (田中商店|の|林) rather than in one (木の実): only if that is likelier than not.
_PARTICLE, _LIKELY = regex.compile(r"(?<=[\p{Han}\p{Katakana}ー])[のとはがをにもへで]"), 0.5

# A title that the probe is as sure of as of this is a name after all.
_SURE = 0.9

# What ends a value even where the probe flags it. A middle dot joins the parts of a foreign name
# (katakana or Latin on one side: ジョン・スミス, 藤子・F・不二雄) and separates Japanese ones.
_SPLIT = regex.compile(r"[\r\n]+")
_SPLIT_BY = {
    "NAME": regex.compile(
        r"[\r\n\t、。，；;：!?！？|/]+|(?<=\p{Ll}{3})\.\s+|(?<=[\p{Han}\p{Hiragana}])[・･](?=[\p{Han}\p{Hiragana}])"
    ),
    "ADDRESS": regex.compile(r"(?:\r?\n){2,}"),
    "SECRET": None,
    **dict.fromkeys(("PHONE", "ID", "IP"), regex.compile(r"[\r\n,;]+")),  # fields of a table
}

_DIGIT = regex.compile(r"\p{N}|[〇一二三四五六七八九十元]")
_MARK = {
    "PHONE": _DIGIT,
    "ID": _DIGIT,
    "DATE_OF_BIRTH": _DIGIT,
    "IP": regex.compile(r"\p{N}\s?[.．。]\s?\p{N}|[0-9A-Fa-f]?:[0-9A-Fa-f:]"),
    "EMAIL": regex.compile(r"[@＠]|\bat\b"),
}


class Token(NamedTuple):
    """A token that reaches the threshold of a label."""

    start: int
    end: int
    label: str
    probability: float


@dataclass
class Run:
    """Flagged tokens that follow one another."""

    label: str
    tokens: list[Token]
    start: int
    end: int


def from_scores(text: str, scores: TokenScores, thresholds: Mapping[str, float]) -> list[Span]:
    """Turn token scores into spans of characters.

    A token counts as the most probable of the labels whose threshold it reaches. Neighbours with
    one label are one value, also across a space or a joiner. `boundaries` then finds the ends.

    Args:
        text: the text that was scored.
        scores: its tokens and their probabilities.
        thresholds: the least probability for each label; other labels are ignored.

    Returns:
        Spans in order. They can overlap only where tokens do; `resolve` settles that.
    """
    runs = Runs()
    ended = [run for token in flagged(scores, thresholds) for run in runs.add(text, token)]
    return sorted(span for run in (*ended, *runs.finish()) for span in spans_of(text, run))


class Runs:
    """Makes runs of flagged tokens, one token after the other.

    Attributes:
        open: the run that the next token may go on with.
    """

    def __init__(self) -> None:
        self.open: Run | None = None

    def add(self, text: str, token: Token) -> list[Run]:
        """Take the next flagged token; return the run that it puts an end to, if it does."""
        start, end, label, probability = token
        if label == "NAME" and probability < _LIKELY and _PARTICLE.fullmatch(text, start, end):
            return []
        run = self.open
        if run and run.label == label and _joined(text, run, start):
            run.tokens.append(token)
            run.start, run.end = min(run.start, start), max(run.end, end)
            return []
        ended = self.finish()
        self.open = Run(label, [token], start, end)
        return ended

    def finish(self) -> list[Run]:
        """Put an end to the run that is open, and return it."""
        ended = [] if self.open is None else [self.open]
        self.open = None
        return ended


def flagged(scores: TokenScores, thresholds: Mapping[str, float]) -> Iterator[Token]:
    """Yield the tokens that reach a threshold."""
    columns = [i for i, label in enumerate(scores.labels) if label in thresholds]
    if not columns or not len(scores.offsets):
        return
    labels = [scores.labels[i] for i in columns]
    probabilities = scores.probabilities[:, columns].double().cpu().numpy()
    enough = np.asarray([thresholds[label] for label in labels])
    reached = np.where(probabilities >= enough, probabilities, -1.0)
    best = reached.argmax(axis=1)
    offsets = scores.offsets.cpu().numpy()
    for row in np.flatnonzero(reached.max(axis=1) >= 0):
        start, end = offsets[row].tolist()
        if start < end:
            column = best[row]
            yield Token(start, end, labels[column], float(probabilities[row, column]))


def _joined(text: str, run: Run, start: int) -> bool:
    gap = start - run.end
    if gap <= 0:
        return True
    joiner = _JOINED_BY.get(run.label, _JOINED)
    return gap <= _LONGEST_GAP and joiner.fullmatch(text, run.end, start) is not None


def may_join(text: str, run: Run, start: int) -> bool:
    """Whether a token that begins at `start` or later could still be of a run."""
    gap = start - run.end
    if gap <= 0:
        return True
    joiner = _JOINED_BY.get(run.label, _JOINED)
    return gap <= _LONGEST_GAP and bool(joiner.fullmatch(text, run.end, start, partial=True))


def spans_of(text: str, run: Run) -> Iterator[Span]:
    """One span for each piece of a run, with its ends moved to where the value's are."""
    for low, high in _pieces(text, run.start, run.end, run.label):
        first = bisect_right(run.tokens, low, key=lambda token: token.end)
        tokens = run.tokens[first : bisect_left(run.tokens, high, key=lambda token: token.start)]
        if not tokens:
            continue
        first_end, last_start = min(tokens[0].end, high), max(tokens[-1].start, low)
        left, right = boundaries.refine(text, low, high, run.label, first_end, last_start)
        score = sum(token.probability for token in tokens) / len(tokens)
        if left < right and _possible(text, left, right, run.label, score):
            yield Span(left, right, run.label, score)


def _possible(text: str, start: int, end: int, label: str, score: float) -> bool:
    """Whether a value has what every value of its label has: a number a digit, say."""
    mark = _MARK.get(label)
    if mark is not None and mark.search(text, start, end) is None:
        return False
    if label == "NAME" and score < _SURE and boundaries.within_title(text, start, end):
        return False
    return not named_otherwise(text, start, label)


def _pieces(text: str, start: int, end: int, label: str) -> Iterator[tuple[int, int]]:
    splitter = _SPLIT_BY.get(label, _SPLIT)
    for found in splitter.finditer(text, start, end) if splitter else ():
        yield start, found.start()
        start = found.end()
    yield start, end


def resolve(spans: Iterable[Span], first: Container[str] = ()) -> list[Span]:
    """Return spans that do not overlap and cover every character that the given ones cover.

    Overlapping spans of one label become one. Between labels the longer one wins, then the higher
    score, then the earlier, then the label's name; what is left of the loser stays as spans of its
    own, so that settling an overlap never uncovers anything.

    Args:
        spans: in any order.
        first: labels that win over all others: those whose spans are taken out of the text.
    """
    order = sorted(
        _united(spans),
        key=lambda s: (s.label not in first, s.start - s.end, -s.score, s.start, s.label),
    )
    taken: list[Span] = []
    for span in order:
        for piece in list(_uncovered(span, taken)):
            insort(taken, piece)
    return taken


def _united(spans: Iterable[Span]) -> list[Span]:
    """Overlapping spans of one label as one, with the highest of their scores."""
    united: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.label, s.start, s.end)):
        last = united[-1] if united else None
        if last and last.label == span.label and span.start < last.end:
            end, score = max(last.end, span.end), max(last.score, span.score)
            united[-1] = Span(last.start, end, span.label, score)
        else:
            united.append(span)
    return united


def _uncovered(span: Span, taken: list[Span]) -> Iterator[Span]:
    """The pieces of a span that lie outside the taken ones (sorted, without overlaps)."""
    start = span.start
    index = bisect_right(taken, start, key=lambda s: s.end)
    while index < len(taken) and (other := taken[index]).start < span.end:
        index += 1
        if start < other.start:
            yield span._replace(start=start, end=other.start)
        start = max(start, other.end)
    if start < span.end:
        yield span._replace(start=start)
