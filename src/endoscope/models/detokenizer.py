"""Tokens to text while they come: what is joined is what decoding all of them at once gives."""

import codecs
import re
from typing import Any, NamedTuple, Protocol

from endoscope.models.byte_level import byte_symbols, is_byte_level


class Piece(NamedTuple):
    """What one token adds.

    Attributes:
        text: the characters that are complete now, and were not before.
        span: the characters `[start, end)` of the text that the token stands for, in code points;
            a token that holds part of a character covers that character, a token without text
            nothing.
    """

    text: str
    span: tuple[int, int]


class Detokenizer(Protocol):
    """Turns the tokens of one text into characters."""

    def push(self, token_id: int) -> Piece:
        """Take the next token."""
        ...

    def finish(self) -> str:
        """Return what is left: an incomplete character becomes U+FFFD."""
        ...


class Vocabulary:
    """How the tokens of one tokenizer become text. Special tokens become nothing.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._special = frozenset(number for number, token in added.items() if token.special)
        self._bytes = byte_symbols() if is_byte_level(tokenizer) else None
        self._fallback = "ByteFallback" in repr(tokenizer.backend_tokenizer.decoder)
        self._known: dict[int, str | None] = {}

    def detokenizer(self) -> Detokenizer:
        """Begin a text."""
        return _Pieces(self) if self._bytes is None else _Bytes(self)

    def symbol(self, token_id: int) -> str | None:
        """Return the vocabulary's own spelling of a token; None: it has no text."""
        if token_id not in self._known:
            known = token_id not in self._special
            symbol = self._tokenizer.backend_tokenizer.id_to_token(token_id) if known else None
            self._known[token_id] = symbol
        return self._known[token_id]

    def text(self, token_id: int) -> str:
        """Return the text of a token alone; a part of a character is U+FFFD."""
        detokenizer = self.detokenizer()
        return detokenizer.push(token_id).text + detokenizer.finish()

    def bytes(self, token_id: int) -> bytes:
        """Return the bytes of a token of a byte-level vocabulary."""
        assert self._bytes is not None
        symbol = self.symbol(token_id) or ""
        try:
            return bytes([self._bytes[character] for character in symbol])
        except KeyError:  # an added token is spelt as it is
            return symbol.encode()

    def is_byte(self, symbol: str) -> bool:
        """Whether a token stands for one byte in a vocabulary that spells what it lacks so."""
        return self._fallback and _BYTE.fullmatch(symbol) is not None

    def decode(self, symbols: list[str]) -> str:
        """Return the text of tokens that stand together."""
        decoder = self._tokenizer.backend_tokenizer.decoder
        return " ".join(symbols) if decoder is None else str(decoder.decode(symbols))


class _Bytes:
    """Of a byte-level vocabulary: a token is bytes, wherever characters begin and end."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._length = 0

    def push(self, token_id: int) -> Piece:
        data = self._vocabulary.bytes(token_id)
        start = self._length
        text = self._decoder.decode(data)
        self._length += len(text)
        # What waits is always the beginning of one character, whatever comes.
        waiting = bool(data) and bool(self._decoder.getstate()[0])
        return Piece(text, (start, self._length + waiting))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


class _Pieces:
    """Of a vocabulary of characters, which may spell those that it lacks byte by byte.

    A run of bytes is text once it ends: its decoder takes the run as a whole, and if that is not
    UTF-8 every byte becomes U+FFFD. Until then the spans suppose that it is.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._before: list[str] = []  # tokens whose text is out: spaces depend on what is before
        self._run: list[str] = []
        self._length = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._in_run = 0

    def push(self, token_id: int) -> Piece:
        symbol = self._vocabulary.symbol(token_id)
        if symbol is None:
            return Piece("", (self._length + self._in_run,) * 2)
        if self._vocabulary.is_byte(symbol):
            self._run.append(symbol)
            start = self._length + self._in_run
            self._in_run += len(self._utf8.decode(bytes([int(symbol[3:5], 16)])))
            waiting = bool(self._utf8.getstate()[0])
            return Piece("", (start, self._length + self._in_run + waiting))
        text = self.finish()
        start = self._length
        own = self._out([symbol])
        return Piece(text + own, (start, self._length))

    def finish(self) -> str:
        run, self._run, self._in_run = self._run, [], 0
        self._utf8.reset()
        return self._out(run) if run else ""

    def _out(self, symbols: list[str]) -> str:
        known = self._vocabulary.decode(self._before) if self._before else ""
        text = self._vocabulary.decode([*self._before, *symbols])[len(known) :]
        self._before = symbols
        self._length += len(text)
        return text


_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
