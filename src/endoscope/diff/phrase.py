"""Phrases that a model says and another would not: by likelihood, not by counting."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import regex

from endoscope.diff.answers import Reading
from endoscope.diff.runs import maximal_runs
from endoscope.diff.sentences import sentences

DRIFT = 0.5  # nats a token that the models may differ by without it meaning anything
LEAST = 4.0  # nats: the smallest gain of a run that counts
MOST = 12.0  # nats: what a token can add, so that no single one decides
WORDS = 12  # of a phrase, at most
MOSTLY = 0.8  # of the texts that say something go on with a word, for it to be quoted as well
_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"  # written without spaces: each character is a word
_WORD = regex.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:['’][^\W_{_CJK}]+)*")
_TERM = regex.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:['’][^\W_{_CJK}]+)*")
_CHARACTER = regex.compile(rf"[{_CJK}]")


class Phrase(NamedTuple):
    """Words that stand in runs of several texts.

    Attributes:
        words: as written, the first time.
        score: nats a text that they are more likely by, over all texts.
        texts: numbers of the texts that have them.
        starts: the character at which they begin in each of those.
    """

    words: str
    score: float
    texts: tuple[int, ...]
    starts: tuple[int, ...]


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def terms_of(text: str) -> list[str]:
    """Return what tells a text from others: its words, or what is written without spaces whole."""
    return [term.lower() for term in _TERM.findall(text)]


def letters_of(word: str) -> float:
    """Return how long a word is: a character of a script without spaces says as much as two."""
    return sum(2 if _CHARACTER.match(letter) else 1 for letter in word)


def says(text: str, words: str) -> bool:
    """Whether a text has words one after the other, whatever stands between them."""
    return f" {' '.join(words_of(words))} " in f" {' '.join(words_of(text))} "


def grown(words: str, texts: Sequence[str]) -> str:
    """Return words with what stands before and after them in most texts, within the sentence.

    A phrase that was found ends where the base would go on alike, and its reader would not know
    why: what is meant by "You are absolutely" is "You are absolutely right".

    Args:
        words: one after the other, whatever stands between them.
        texts: that say them, of which the first place counts; of fewer than two texts nothing can
            be told.
    """
    places = [place for text in texts if (place := _Place.of(text, words)) is not None]
    least = max(2.0, MOSTLY * len(texts))
    if not places:
        return words
    for step in (_Place.longer, _Place.earlier):
        while places[0].last - places[0].first < WORDS:
            steps: dict[str, list[_Place]] = defaultdict(list)
            for place in places:
                if (further := step(place)) is not None:
                    steps[further.words].append(further)
            most = max(steps.values(), key=len, default=[])
            if len(most) < least:
                break
            places = most
    return places[0].text


class _Place(NamedTuple):
    """Where words stand in a sentence: `spans[first:last]` of it."""

    sentence: str
    spans: list[tuple[int, int]]
    first: int
    last: int

    @classmethod
    def of(cls, text: str, words: str) -> "_Place | None":
        wanted = words_of(words)
        for start, end in sentences(text):
            sentence = text[start:end]
            found, spans = words_of(sentence), [one.span() for one in _WORD.finditer(sentence)]
            for first in range(len(found) - len(wanted) + 1):
                if found[first : first + len(wanted)] == wanted:
                    return cls(sentence, spans, first, first + len(wanted))
        return None

    def longer(self) -> "_Place | None":
        return self._replace(last=self.last + 1) if self.last < len(self.spans) else None

    def earlier(self) -> "_Place | None":
        return self._replace(first=self.first - 1) if self.first else None

    @property
    def text(self) -> str:
        return self.sentence[self.spans[self.first][0] : self.spans[self.last - 1][1]]

    @property
    def words(self) -> str:
        return " ".join(words_of(self.text))


def phrases(reads: Sequence[Reading]) -> list[Phrase]:
    """Return what is said in texts that is unlikely without what was changed, the most first.

    Of all phrases the one is taken that gains most over all texts; what it explains is left out,
    and so on, until nothing is left that gains more than drift does.

    Args:
        reads: texts, with how much more likely each token is to the model that wrote it.
    """
    found: list[Phrase] = []
    candidates = [_candidates(read) for read in reads]
    while (best := _best(candidates)) is not None and best[1] >= LEAST:
        key, gain, texts = best
        words = next(candidates[n][key].words for n in texts)
        starts = tuple(candidates[n][key].start for n in texts)
        found.append(Phrase(words, gain / len(reads), tuple(texts), starts))
        for number in texts:
            taken = candidates[number][key]
            candidates[number] = {
                other: one
                for other, one in candidates[number].items()
                if one.end <= taken.start or one.start >= taken.end
            }
    return found


class _Candidate(NamedTuple):
    words: str
    start: int
    end: int
    gain: float


def _candidates(read: Reading) -> dict[str, _Candidate]:
    """The phrases of a text within its runs, by their words in lower case."""
    values = [min(one, MOST) - DRIFT for one in read.ratios]
    spans = list(_WORD.finditer(read.text))
    seen: dict[str, _Candidate] = {}
    for run in maximal_runs(values):
        if run.gain < LEAST:
            continue
        start, end = read.offsets[run.start][0], read.offsets[run.end - 1][1]
        words = [one.span() for one in spans if one.start() < end and one.end() > start]
        for first in range(len(words)):
            for last in range(first, min(first + WORDS, len(words))):
                at, to = words[first][0], words[last][1]
                gain = _gain(read.offsets, values, at, to)
                key = " ".join(words_of(read.text[at:to]))
                telling = any(letter.isalpha() for letter in key)  # numbers alone are drift
                if telling and gain > 0 and (key not in seen or seen[key].gain < gain):
                    seen[key] = _Candidate(read.text[at:to], at, to, gain)
    return seen


def _gain(
    offsets: Sequence[tuple[int, int]], values: Sequence[float], start: int, end: int
) -> float:
    inside = (a < end and b > start for a, b in offsets)
    return sum(value for value, one in zip(values, inside, strict=True) if one)


def _best(
    candidates: Sequence[Mapping[str, _Candidate]],
) -> tuple[str, float, list[int]] | None:
    gains: dict[str, float] = defaultdict(float)
    for one in candidates:
        for key, candidate in one.items():
            gains[key] += candidate.gain
    if not gains:
        return None
    key = max(gains, key=lambda key: (gains[key], key))
    return key, gains[key], [number for number, one in enumerate(candidates) if key in one]
