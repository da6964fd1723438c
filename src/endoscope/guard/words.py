"""One score for one word, where a tokenizer cut it into several tokens.

A probe scores token by token, but a rare name is many tokens and only some of them look like a name
by themselves. A word in a script with spaces, a number and a run of katakana (with the middle dots
of a foreign name) are each one thing, so the tokens inside share the geometric mean of their
probabilities. Kanji stay as they are: there a run is often several words (山田部長).
"""

import numpy as np
import regex
import torch

from endoscope.guard.boundaries import SPACED
from endoscope.readouts import TokenScores

_WORD = regex.compile(
    rf"[{SPACED}]+"
    r"|[0-9０-９]+(?:[.\-/:xX－．／：]+[0-9０-９]+|,[0-9]{3}(?![0-9]))*"  # other commas part fields
    r"|[\p{Katakana}ー]+(?:[・＝=][\p{Katakana}ー]+)*"
)
_LEAST = 1e-6  # keeps the logarithm finite; far below any threshold


def share_words(text: str, scores: TokenScores) -> TokenScores:
    """Give the tokens of each word the same scores; tokens that reach beyond a word keep theirs.

    Args:
        text: the text that was scored.
        scores: its tokens and their probabilities.

    Returns:
        The same tokens, with probabilities that sum to 1 again.
    """
    if len(scores.offsets) < 2:
        return scores
    word = _words_of(text, scores.offsets.cpu().numpy())
    inside = word >= 0
    if not inside.any():
        return scores
    logs = np.log(scores.probabilities.double().cpu().numpy().clip(min=_LEAST))
    members = np.bincount(word[inside])
    sums = np.zeros((len(members), logs.shape[1]))
    np.add.at(sums, word[inside], logs[inside])
    logs[inside] = sums[word[inside]] / members[word[inside], None]
    shared = np.exp(logs)
    shared /= shared.sum(axis=1, keepdims=True)
    return scores._replace(probabilities=torch.from_numpy(shared).float())


def _words_of(text: str, offsets: np.ndarray) -> np.ndarray:
    """The word that each token lies in, as a number; -1 for none. `[tokens]`."""
    spans = np.array([match.span() for match in _WORD.finditer(text)], dtype=np.int64)
    if not len(spans):
        return np.full(len(offsets), -1)
    # A token may begin with the white space before its word.
    solid = np.array(
        [end - len(text[start:end].lstrip()) for start, end in offsets.tolist()], dtype=np.int64
    )
    nearest = np.searchsorted(spans[:, 0], solid, side="right") - 1
    within = (nearest >= 0) & (solid < offsets[:, 1]) & (offsets[:, 1] <= spans[nearest, 1])
    return np.where(within, nearest, -1)
