"""One score for one word, where a tokenizer cut it into several tokens.

A probe scores token by token, but a rare name is many tokens and only some of them look like a name
by themselves. A word in a script with spaces, a number and a run of katakana (with the middle dots
of a foreign name) are each one thing, so the tokens inside share the geometric mean of their
probabilities. Kanji stay as they are: there a run is often several words (山田部長). What goes on
without a break is cut every 256 characters, so that a stream need not wait for an end.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import regex
import torch

from endoscope.guard.boundaries import SPACED
from endoscope.guard.unfinished import unfinished, unfinished_from
from endoscope.readouts import TokenScores

_WORD = regex.compile(
    rf"[{SPACED}]+"
    r"|[0-9０-９]+(?:[.\-/:xX－．／：]+[0-9０-９]+|,[0-9]{3}(?![0-9]))*"  # other commas part fields
    r"|[\p{Katakana}ー]+(?:[・＝=][\p{Katakana}ー]+)*"
)
_FIRST = regex.compile(rf"[{SPACED}0-9０-９\p{{Katakana}}ー]")
_UNFINISHED = unfinished(_WORD)
_LONGEST = 256  # characters of a word
_SEEN = _LONGEST + 8  # characters that decide where a word ends
_LEAST = 1e-6  # keeps the logarithm finite; far below any threshold


def words(text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield where the words of a text begin and end, in order.

    Args:
        text: the text.
        start: where to begin: at the end of a word, or before the first.
    """
    while first := _FIRST.search(text, start):
        place = first.start()
        word = _WORD.match(text, place, place + _SEEN) or first
        start = min(word.end(), place + _LONGEST)
        yield place, start


def first_unfinished(text: str, start: int = 0) -> int:
    """Where the first word begins that more text could still change; `words` has those before."""
    return unfinished_from(_UNFINISHED, text, max(start, len(text) - _SEEN))


def share_words(text: str, scores: TokenScores) -> TokenScores:
    """Give the tokens of each word the same scores; tokens that reach beyond a word keep theirs.

    Args:
        text: the text that was scored.
        scores: its tokens and their probabilities.

    Returns:
        The same tokens, with probabilities that sum to 1 again.
    """
    return share(text, scores, words(text))


def share(text: str, scores: TokenScores, spans: Iterable[tuple[int, int]]) -> TokenScores:
    """Do what `share_words` does, where the words are known.

    Args:
        text: the text that was scored.
        scores: tokens: of each word all or none.
        spans: the words, in order.
    """
    word = _words_of(text, scores.offsets.cpu().numpy(), spans)
    members = np.bincount(word + 1)
    inside = (word >= 0) & (members[word + 1] > 1)
    if not inside.any():
        return scores
    word = word[inside]
    probabilities = scores.probabilities.float().cpu().numpy().copy()
    logs = np.log(probabilities[inside].astype(np.float64).clip(min=_LEAST))
    sums = np.zeros((word.max() + 1, logs.shape[1]))
    np.add.at(sums, word, logs)
    shared = np.exp(sums[word] / members[word + 1, None])
    probabilities[inside] = shared / shared.sum(axis=1, keepdims=True)
    return scores._replace(probabilities=torch.from_numpy(probabilities))


def _words_of(text: str, offsets: np.ndarray, words: Iterable[tuple[int, int]]) -> np.ndarray:
    """The word that each token lies in, as a number; -1 for none. `[tokens]`."""
    spans = np.array(list(words), dtype=np.int64)
    if not len(spans):
        return np.full(len(offsets), -1)
    # A token may begin with the white space before its word.
    solid = np.array(
        [end - len(text[start:end].lstrip()) for start, end in offsets.tolist()], dtype=np.int64
    )
    nearest = np.searchsorted(spans[:, 0], solid, side="right") - 1
    within = (nearest >= 0) & (solid < offsets[:, 1]) & (offsets[:, 1] <= spans[nearest, 1])
    return np.where(within, nearest, -1)
