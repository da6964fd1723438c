"""Scorers that stand in for a probe: what they flag is known, and so is where tokens lie."""

from collections.abc import Mapping, Sequence

import regex
import torch

from endoscope.readouts import TokenScores

# Words with their leading space and possessive, kana particles glued to what is before them, single
# characters otherwise: tokens straddle the ends of names, as real ones do.
TOKENS = (
    r" ?\p{Latin}+(?:'s)?|\p{Han}+\p{Hiragana}{0,2}|\p{Katakana}+\p{Hiragana}?|[0-9]{1,3}|\s+|\X"
)


class PatternScorer:
    """Scores a token high for a label if it shares a character with a match of its pattern.

    Args:
        patterns: for each label what it flags.
        context: how many characters a match needs on both sides, within the text that is given
            or up to the markers `^` and `$` that stand for the true ends of the document.
    """

    def __init__(
        self,
        patterns: Mapping[str, str],
        *,
        context: int = 0,
        max_characters: int = 400,
        tokens: str = TOKENS,
        look_ahead: int | None = None,
    ) -> None:
        self.name = "patterns"
        self.labels = ("O", *patterns)
        self.thresholds = dict.fromkeys(patterns, 0.5)
        self.max_characters = max_characters
        self.calls = 0
        self.look_ahead = look_ahead
        self.max_tokens = 10**9
        self._patterns = [regex.compile(pattern) for pattern in patterns.values()]
        self._tokens = regex.compile(tokens)
        self._context = context

    def fits(self, text: str) -> bool:
        return len(self._tokens.findall(text)) <= self.max_tokens

    def score(self, texts: Sequence[str]) -> list[TokenScores]:
        self.calls += 1
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> TokenScores:
        offsets = [(0, 0), *(m.span() for m in self._tokens.finditer(text))]
        probabilities = torch.full((len(offsets), len(self.labels)), 0.01)
        for column, pattern in enumerate(self._patterns, start=1):
            for match in pattern.finditer(text):
                if min(match.start(), len(text) - match.end()) < self._context:
                    continue
                for row, (start, end) in enumerate(offsets):
                    if start < match.end() and end > match.start():
                        probabilities[row, column] = 0.9
        probabilities[:, 0] = 1 - probabilities[:, 1:].sum(1)
        return TokenScores(torch.tensor(offsets), probabilities, self.labels)


NAMES = {
    "NAME": r"Mary (?:Ann )?Jones|John Smith|田中太郎|ジョン・スミス|José",
    "PHONE": r"020 79(?=46)",
    "ID": r"(?!)",  # known, but never seen
    "SECRET": r"(?!)",
}
