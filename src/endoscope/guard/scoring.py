"""What reads a text, and the check that it has read all of it."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol
from unicodedata import category

import numpy as np
import regex
import torch

from endoscope.errors import InputError
from endoscope.guard.policy import Language
from endoscope.guard.windows import Window, cut, join, join_late
from endoscope.readouts import TokenScores

_SMALLEST = 16  # characters in a window; fewer say nothing about each other
_SURROGATE = re.compile("[\ud800-\udfff]")
_JAPANESE = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Han}]")


class UnscoredError(InputError):
    """A text could not be scored, so nobody knows what is in it. It must not pass as clean."""


class Scorer(Protocol):
    """A probe and the model that it reads.

    Attributes:
        name: tells this probe from others, and from others of its name.
        labels: its classes; the first means "nothing here".
        thresholds: its own threshold for each label.
        max_characters: the most characters that it should read at once.
        look_ahead: how many tokens after a token it reads to score it; None: all of the text.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def labels(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def thresholds(self) -> Mapping[str, float]: ...  # noqa: D102
    @property
    def max_characters(self) -> int: ...  # noqa: D102
    @property
    def look_ahead(self) -> int | None: ...  # noqa: D102

    def fits(self, text: str) -> bool:
        """Whether it can read a text of at most `max_characters` at once."""
        ...

    def score(self, texts: Sequence[str]) -> list[TokenScores]:
        """Score every token of each text."""
        ...


def language(text: str) -> Language:
    """Return `"ja"` for a text with a kana or a kanji in it, `"en"` for any other.

    It only chooses between the probes of a policy that has one for each; the probe that comes with
    Endoscope reads both.
    """
    return "ja" if _JAPANESE.search(text) else "en"


def score(scorer: Scorer, texts: Sequence[str]) -> list[TokenScores]:
    """Score texts of any length, in windows where they are long, and check the result.

    Args:
        scorer: what reads them.
        texts: texts. A lone surrogate, which no tokenizer takes, is read as U+FFFD.

    Raises:
        UnscoredError: the scorer failed, or its scores do not cover a text.
    """
    whole = [readable(text) for text in texts]
    windows = [_windows(scorer, text) for text in whole]
    parts = [text[w.start : w.end] for text, own in zip(whole, windows, strict=True) for w in own]
    try:
        scores = scorer.score(parts) if parts else []
    except InputError as error:
        raise UnscoredError(f"the probe failed: {error}") from None
    except Exception as error:
        # Whatever went wrong, its message may quote the text: only its kind is passed on.
        raise UnscoredError(f"the probe failed ({type(error).__name__})") from None
    if len(scores) != len(parts):
        raise UnscoredError(f"the probe scored {len(scores)} of {len(parts)} texts")
    for part, found in zip(parts, scores, strict=True):
        check(part, found, scorer.labels)
    following = iter(scores)
    return [
        _joined(scorer, text, own, [next(following) for _ in own]) if own else _nothing(scorer)
        for text, own in zip(whole, windows, strict=True)
    ]


def _joined(
    scorer: Scorer, text: str, windows: Sequence[Window], scores: Sequence[TokenScores]
) -> TokenScores:
    if scorer.look_ahead is None:
        return join(windows, scores)
    return join_late(text, windows, scores, scorer.look_ahead)


def _windows(scorer: Scorer, text: str) -> list[Window]:
    """Windows of a text, smaller ones where its characters make more tokens than is usual."""
    size = scorer.max_characters
    while size >= _SMALLEST:
        windows = cut(text, size, size // 4)
        if all(scorer.fits(text[w.start : w.end]) for w in windows):
            return windows
        size //= 2
    raise UnscoredError("the model cannot read enough characters at once")


def check(text: str, scores: TokenScores, labels: Sequence[str]) -> None:
    """Refuse scores that do not say something about all of a text.

    Every character other than white space and control characters must be in a token, and every
    probability must be one.

    Raises:
        UnscoredError: that is not so.
    """
    check_scores(scores, labels)
    offsets = scores.offsets.cpu().numpy()
    starts, ends = offsets[:, 0], offsets[:, 1]
    if not ((starts >= 0) & (starts <= ends) & (ends <= len(text))).all():
        raise UnscoredError("the probe's tokens lie outside the text")
    steps = np.zeros(len(text) + 1, dtype=np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    for position in np.flatnonzero(np.cumsum(steps[:-1]) == 0):
        if not may_be_unread(text[position]):
            raise UnscoredError(f"the probe did not read character {position} of a text")


def check_scores(scores: TokenScores, labels: Sequence[str]) -> None:
    """Refuse scores that are not a probability for each token and label.

    Raises:
        UnscoredError: that is so.
    """
    offsets, probabilities = scores.offsets, scores.probabilities
    if tuple(scores.labels) != tuple(labels):
        raise UnscoredError("the probe's labels are not those of its scores")
    if offsets.shape != (len(offsets), 2) or probabilities.shape != (len(offsets), len(labels)):
        raise UnscoredError("the probe did not score every token")
    # NaN compares false, so it fails here as well.
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-3)).all():
        raise UnscoredError("the probe gave scores that are no probabilities")


def may_be_unread(char: str) -> bool:
    """Whether a character needs no token: white space and control characters."""
    return char.isspace() or category(char) == "Cc"


def _nothing(scorer: Scorer) -> TokenScores:
    none, labels = torch.zeros(0, 2, dtype=torch.int64), tuple(scorer.labels)
    return TokenScores(none, torch.zeros(0, len(labels)), labels)


def readable(text: str) -> str:
    """Return a text without lone surrogates."""
    return _SURROGATE.sub("\ufffd", text)
