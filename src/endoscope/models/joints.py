"""Where text can be cut without changing its tokens, whatever follows."""

from functools import lru_cache
from typing import Any
from unicodedata import category

from endoscope.models.byte_level import byte_symbols, is_byte_level
from endoscope.models.tokens import TextTokenizer

_MARK = "\u2581"  # what stands for a space in vocabularies of the SentencePiece kind


class Joints:
    """The places between characters that no token of a vocabulary lies across.

    Tokens are made of neighbours that were merged (Sennrich et al. 2016, "Neural machine
    translation of rare words with subword units"). Two neighbours that stand side by side in no
    token of the vocabulary are never merged, so what is before them and what is behind them become
    tokens independently.

    Args:
        tokenizer: whose.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._pairs, self._bytes = _pairs(tokenizer.hf)

    def last(self, text: str) -> int:
        """Return the last joint in a text that may go on; 0: there is none."""
        return next((at for at in range(len(text) - 1, 0, -1) if self._parts(text, at)), 0)

    def _parts(self, text: str, at: int) -> bool:
        before, after = text[at - 1], text[at]
        if category(after)[0] == "M" or "\u1160" <= after <= "\u11ff":
            return False  # normalisation may compose them
        if self._bytes is None:
            return (before + after).replace(" ", _MARK) not in self._pairs
        return self._bytes[before.encode()[-1]] + self._bytes[after.encode()[0]] not in self._pairs


@lru_cache(maxsize=8)
def _pairs(tokenizer: Any) -> tuple[frozenset[str], dict[int, str] | None]:
    """Pairs of neighbours in any token, and the symbol of each byte where tokens are of bytes."""
    byte_level = is_byte_level(tokenizer)
    symbols = {value: symbol for symbol, value in byte_symbols().items()} if byte_level else None
    words = set(tokenizer.get_vocab())
    for added in tokenizer.added_tokens_decoder.values():
        content = added.content
        words.add("".join(symbols[b] for b in content.encode()) if symbols else content)
    pairs = {word[i : i + 2] for word in words for i in range(len(word) - 1)}
    return frozenset(pair.replace(" ", _MARK) for pair in pairs), symbols
