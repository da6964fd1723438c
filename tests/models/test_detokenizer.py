"""Text that comes token by token is the text of all tokens at once."""

from functools import cache
from typing import Any

import pytest
import transformers
from hypothesis import example, given
from hypothesis import strategies as st
from tests.tiny import byte_tokenizer
from tokenizers import Tokenizer, decoders
from tokenizers import models as token_models

from endoscope.models import Vocabulary
from endoscope.models.loading import _folder


def sentencepiece_like(strip: bool) -> Any:
    """A vocabulary as SentencePiece writes it: a mark for a space, bytes for what is missing."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        "▁",
        "a",
        "b",
        "▁a",
        "▁the",
        "ab",
        "日",
        "本",
        "、",
        "▁▁",
        "\n",
    ]
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    raw = Tokenizer(token_models.BPE({p: i for i, p in enumerate(pieces)}, [], unk_token="<unk>"))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    steps += [decoders.Strip(" ", 1, 0)] if strip else []
    raw.decoder = decoders.Sequence(steps)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def embedded(name: str) -> Any:
    """The tokenizer of an embedded model, without its weights."""
    return transformers.AutoTokenizer.from_pretrained(_folder(name))


TOKENIZERS = {
    "bytes": byte_tokenizer,
    "pieces": lambda: sentencepiece_like(strip=False),
    "pieces without the first space": lambda: sentencepiece_like(strip=True),
    "smollm2": lambda: embedded("smollm2-135m-instruct"),
    "gemma": lambda: embedded("gemma-3-270m"),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


@cache
def vocabulary(tokenizer: Any) -> Vocabulary:
    return Vocabulary(tokenizer)


def streamed(tokenizer: Any, ids: list[int]) -> tuple[list[str], list[tuple[int, int]]]:
    """What each token adds, the end last, and the span of each."""
    stream = vocabulary(tokenizer).detokenizer()
    pieces = [stream.push(token) for token in ids]
    return [*(piece.text for piece in pieces), stream.finish()], [piece.span for piece in pieces]


def decoded(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@given(data=st.data())
def test_random_ids_give_what_decoding_gives(tokenizer: Any, data: st.DataObject) -> None:
    low = st.integers(0, 300)  # bytes and special tokens are there, in all of these vocabularies
    every = st.integers(0, len(tokenizer) + 1)  # some models know more ids than their tokenizer
    ids = data.draw(st.lists(low | every, max_size=30))
    texts, spans = streamed(tokenizer, ids)
    assert "".join(texts) == decoded(tokenizer, ids)
    assert all(0 <= start <= end for start, end in spans)


@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=30))
@example("日本語の文です。絵文字👩‍👩‍👧‍👦も𝄞も。")
@example(" leading,  double  and trailing ")
@example("\n\t﷽ é e\u0301 ﬁ 𓀀𓀁")
def test_real_text_comes_back_with_its_spans(tokenizer: Any, text: str) -> None:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    texts, spans = streamed(tokenizer, ids)
    whole = "".join(texts)
    assert whole == decoded(tokenizer, ids)
    # Each token alone, so what it and all before it cover is what decoding them gives, but for a
    # character that is still incomplete.
    for number, (start, end) in enumerate(spans):
        known = decoded(tokenizer, ids[: number + 1]).rstrip("\ufffd")
        assert start <= len(known) <= end or known == whole[: len(known)]
        assert whole[start:end] != "" or not decoded(tokenizer, [ids[number]]).strip()


@given(text=st.text(alphabet="aé日👩\n ", min_size=1, max_size=12))
def test_spans_of_bytes_are_the_characters_that_they_are_part_of(text: str) -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    texts, spans = streamed(tokenizer, ids)
    expected = [(i, i + 1) for i, character in enumerate(text) for _ in character.encode()]
    assert spans == expected
    # A character comes with its last byte, and nothing before.
    lengths = [n for character in text for n in [*[0] * (len(character.encode()) - 1), 1]]
    assert [len(one) for one in texts] == [*lengths, 0]


@given(text=st.text(alphabet="é日👩𓀀", min_size=1, max_size=8))
def test_spans_of_spelt_bytes_are_too(text: str) -> None:
    tokenizer = sentencepiece_like(strip=False)
    first = tokenizer.convert_tokens_to_ids("<0x00>")
    ids = [first + byte for byte in text.encode()]
    texts, spans = streamed(tokenizer, ids)
    assert "".join(texts) == text
    assert spans == [(i, i + 1) for i, character in enumerate(text) for _ in character.encode()]
    assert "".join(texts[:-1]) == ""  # the run may yet turn out to be no UTF-8


def test_a_run_of_bytes_that_is_no_utf8_is_replaced_byte_by_byte() -> None:
    tokenizer = sentencepiece_like(strip=False)
    first = tokenizer.convert_tokens_to_ids("<0x00>")
    ids = [first + byte for byte in "日".encode() + b"\xff"] + [
        tokenizer.convert_tokens_to_ids("a")
    ]
    texts, spans = streamed(tokenizer, ids)
    assert texts == ["", "", "", "", "\ufffd\ufffd\ufffd\ufffda", ""]
    assert spans[-1] == (4, 5)


def test_special_tokens_are_no_text() -> None:
    tokenizer = byte_tokenizer()
    assert streamed(tokenizer, [256, 65 - 33, 257]) == (["", "A", "", ""], [(0, 0), (0, 1), (1, 1)])
