"""Text to tokens and back to characters."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import regex

from endoscope.errors import InputError
from endoscope.models.byte_level import ByteLevelRepair

_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]+")


class Encoded(NamedTuple):
    """One text as tokens.

    Attributes:
        ids: token ids, special tokens included.
        offsets: for each token the characters `[start, end)` it stands for, in Unicode code points
            of the text. A token that holds part of a character covers that character; a special
            token that was added (BOS) covers nothing, `(0, 0)`. A character that the vocabulary
            cannot say at all (a few control characters, in some) is covered by no token.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


def unscored(prefix: Sequence[int], ids: Sequence[int]) -> int:
    """Return how many tokens at the start of a text were added to it: all of the prefix, or none.

    Args:
        prefix: what a tokenizer puts before a text.
        ids: of the text.
    """
    return len(prefix) if tuple(ids[: len(prefix)]) == tuple(prefix) else 0


class TextTokenizer:
    """A Hugging Face tokenizer that always knows which characters a token stands for.

    Args:
        tokenizer: a fast tokenizer; the slow kind does not track characters.

    Raises:
        InputError: the tokenizer is of the slow kind.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.is_fast:
            raise InputError(
                f"{type(tokenizer).__name__} does not track characters.",
                "Save the model with a fast tokenizer (a tokenizer.json beside its weights).",
            )
        self.hf = tokenizer
        self._repair = ByteLevelRepair(tokenizer) if ByteLevelRepair.applies(tokenizer) else None

    @property
    def padding(self) -> int:
        """The id that fills up a batch; any will do, as padding is masked."""
        padding = self.hf.pad_token_id
        return 0 if padding is None else int(padding)

    def serialised(self) -> bytes:
        """Return all that decides how text becomes tokens: what a fingerprint hashes."""
        return str(self.hf.backend_tokenizer.to_str()).encode()

    def word(self, token: int) -> str | None:
        """Return the word that a token is, or begins; None if it goes on with one, or is none.

        Scripts that are written without spaces have no beginnings: any token of theirs will do.
        """
        piece = str(self.hf.convert_ids_to_tokens(token))
        text = str(self.hf.decode([token])).strip()
        begins = piece.startswith(("\u0120", "\u2581")) or bool(_UNSPACED.fullmatch(text))
        return text if begins and text.isalpha() else None

    def encode(self, text: str, *, special: bool = True) -> Encoded:
        """Return the tokens of one text; `special` adds what the model expects around it."""
        return self.encode_batch([text], special=special)[0]

    def encode_batch(self, texts: Sequence[str], *, special: bool = True) -> list[Encoded]:
        """Return the tokens of each text, in order.

        Raises:
            InputError: a text holds a lone surrogate, which no encoding can carry.
        """
        for index, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise InputError(
                    f"Text {index} holds a lone surrogate at character {_surrogate(text)}.",
                    "Replace it (for example by U+FFFD) before it is read.",
                ) from None
        if not texts:
            return []
        encoded = self.hf(
            list(texts),
            add_special_tokens=special,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        out = []
        for text, ids, offsets in zip(
            texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
        ):
            if self._repair and self._repair.needed(text):
                offsets = self._repair.offsets(text, ids, offsets)
            out.append(Encoded(list(ids), [tuple(pair) for pair in offsets]))
        return out

    def prefix(self) -> list[int]:
        """Return the special tokens that this tokenizer puts before a text (often BOS)."""
        return list(self._prefix)

    @cached_property
    def _prefix(self) -> tuple[int, ...]:
        plain, marked = (
            self.hf("x", add_special_tokens=special)["input_ids"] for special in (False, True)
        )
        return tuple(marked[: marked.index(plain[0])])

    def unscored(self, ids: Sequence[int]) -> int:
        """Return how many tokens at the start of a text were added to it (BOS)."""
        return unscored(self._prefix, ids)

    def __repr__(self) -> str:
        return f"TextTokenizer({type(self.hf).__name__}, {len(self.hf):,} tokens)"

    @property
    def can_chat(self) -> bool:
        """Whether there is a chat template."""
        return bool(self.hf.chat_template)

    def chat(self, messages: Sequence[dict[str, str]], *, reply: bool = False) -> str:
        """Return messages as the text that the model's chat template makes of them, to be encoded.

        Args:
            messages: `[{"role": ..., "content": ...}, ...]`.
            reply: end with the beginning of the model's turn, so that what follows is its answer.

        Raises:
            InputError: the model has no chat template, or it refuses the messages.
        """
        if not self.can_chat:
            raise InputError("This model has no chat template.", 'Give "text" and no "messages".')
        try:
            text = str(
                self.hf.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=reply
                )
            )
        except Exception as error:  # templates raise what they like
            raise InputError(
                f"The model's chat template refuses the messages ({type(error).__name__}).",
                'Give each a "role" that it knows and a "content" of text.',
            ) from error
        # Some templates write the BOS token that encoding puts before any text.
        doubled = self.hf.bos_token_id is not None and self.hf.bos_token_id in self.prefix()
        return text.removeprefix(self.hf.bos_token) if doubled else text


def _surrogate(text: str) -> int:
    return next(i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff")
