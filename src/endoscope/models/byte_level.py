"""Offsets for byte-level vocabularies that lack some bytes.

A byte-level tokenizer drops a byte that its vocabulary does not have (SmolLM2 lacks a few control
characters and the first bytes of rare planes), and its own offsets are wrong from there on. Here
they are made from the bytes themselves.
"""

import re
from typing import Any

Offsets = list[tuple[int, int]]


class ByteLevelRepair:
    """Right offsets for texts with bytes that the vocabulary lacks.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._bytes = byte_symbols()
        vocabulary = tokenizer.get_vocab()
        missing = [value for symbol, value in self._bytes.items() if symbol not in vocabulary]
        classes = b"".join(re.escape(bytes([value])) for value in missing)
        self._missing = re.compile(b"[" + classes + b"]") if missing else None

    @staticmethod
    def applies(tokenizer: Any) -> bool:
        """Whether this is a byte-level tokenizer."""
        return is_byte_level(tokenizer)

    def needed(self, text: str) -> bool:
        """Whether the text has bytes that the vocabulary lacks."""
        return self._missing is not None and self._missing.search(text.encode()) is not None

    def offsets(self, text: str, ids: list[int], offsets: Offsets) -> Offsets:
        """Return the characters of each token, from the bytes that it stands for.

        Args:
            text: what was encoded.
            ids: its tokens.
            offsets: as the tokenizer gave them; only used to tell added tokens (empty spans).
        """
        # The character of each byte that reached the vocabulary.
        characters = [
            number
            for number, character in enumerate(text)
            for byte in character.encode()
            if self._missing is None or not self._missing.match(bytes([byte]))
        ]
        added = self._tokenizer.added_tokens_decoder
        repaired: Offsets = []
        position = 0
        for token, pair in zip(ids, offsets, strict=True):
            if token in added:
                length = 0 if pair == (0, 0) else len(added[token].content.encode())
            else:
                length = len(self._tokenizer.convert_ids_to_tokens(token))
            if length == 0:
                repaired.append((0, 0))
                continue
            repaired.append((characters[position], characters[position + length - 1] + 1))
            position += length
        return repaired


def is_byte_level(tokenizer: Any) -> bool:
    """Whether a fast tokenizer's vocabulary is made of bytes."""
    return type(tokenizer.backend_tokenizer.decoder).__name__ == "ByteLevel"


def byte_symbols() -> dict[str, int]:
    """Return the printable character that stands for each byte (Radford et al. 2019, GPT-2)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return {chr(byte if byte in printable else next(others)): byte for byte in range(256)}
