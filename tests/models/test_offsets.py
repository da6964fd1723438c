"""Offsets: the characters that a token stands for, whatever the text."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tiny import byte_tokenizer

from endoscope.errors import InputError
from endoscope.models import TextTokenizer, load

NASTY = [
    "",
    " leading",
    "trailing   ",
    "a\r\nb\r\n",
    "👩‍👩‍👧 family 🇯🇵",
    "１２３４ 全角ＡＢＣ",
    "e\u0301 combining か\u3099",
    "\x00nul\x00",
    "שלום עולם",
    "𠮷野家で𩸽を食べた",
    "\t\ttab\n\n\n",
    "a\u200bb\ufeffc",
    "\u3000全角空白\u3000",
    "▁under▁score",
    "naïve café ﬁ ½ ﷺ",
    "山田太郎さんの家",
    "/\x1d/",
    "\U00040000\x08 then \x04 and \U000f1234.",
]
# Control characters for which a vocabulary has no token at all.
UNSAID = {
    "": "",
    "gemma-3-270m": "",
    "smollm2-135m-instruct": "\x04\x06\x13\x14\x16\x1d",
}


@cache
def embedded(name: str) -> TextTokenizer:
    return load(name).tokenizer


@cache
def byte_level() -> TextTokenizer:
    return TextTokenizer(byte_tokenizer())


def check(tokenizer: TextTokenizer, text: str, name: str = "") -> None:
    ids, offsets = tokenizer.encode(text)
    assert len(ids) == len(offsets)
    own = [pair for pair in offsets if pair != (0, 0)]
    covered: set[int] = set()
    previous = (0, 0)
    for start, end in own:
        assert 0 <= start < end <= len(text)
        # In order; tokens overlap only where they share a character that was split. (A byte-level
        # token may begin with a space and end with the first byte of what follows it.)
        assert start >= previous[0]
        assert end >= previous[1]
        assert start >= previous[1] - 1
        previous = (start, end)
        covered.update(range(start, end))
    # What stands on both sides of a character without a token may become one token.
    assert covered >= {i for i, character in enumerate(text) if character not in UNSAID[name]}


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_byte_level_covers_every_character(text: str) -> None:
    check(byte_level(), text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_a_byte_token_stands_for_the_character_of_its_byte(text: str) -> None:
    expected = [(i, i + 1) for i, character in enumerate(text) for _ in character.encode()]
    assert byte_level().encode(text, special=False).offsets == expected


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma-3-270m"])
@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_texts(name: str, text: str) -> None:
    check(embedded(name), text, name)


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma-3-270m"])
def test_any_text(name: str) -> None:
    @settings(deadline=None, max_examples=300)
    @given(
        st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
        | st.text(alphabet="aé日ｱ ア\u3099👩\u200d\r\n1１-@.", max_size=40)
    )
    def run(text: str) -> None:
        check(embedded(name), text, name)

    run()


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma-3-270m"])
def test_a_whole_token_says_what_its_characters_say(name: str) -> None:
    """Independent of the tokenizer's own bookkeeping: decode each token and compare."""
    tokenizer = embedded(name)
    text = "Dr. Ana-María O'Brien (born 1970) met 田中 at 3:15 in São Paulo.\nThen they left."
    ids, offsets = tokenizer.encode(text, special=False)
    for token, (start, end) in zip(ids, offsets, strict=True):
        said = tokenizer.hf.decode([token])
        if "\ufffd" not in said:
            assert said == text[start:end]


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InputError, match="Text 1 holds a lone surrogate at character 2"):
        byte_level().encode_batch(["fine", "ab\udc00"])


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(InputError, match="fast"):
        TextTokenizer(Slow())


def test_a_conversation_begins_with_one_bos() -> None:
    """Templates write it or not; encoding puts it there in any case."""
    said = [{"role": "user", "content": "hello"}]
    ids = []
    for start in ("", "{{ bos_token }}"):
        raw = byte_tokenizer()
        raw.chat_template = start + "{% for m in messages %}{{ m.content }}{% endfor %}"
        tokenizer = TextTokenizer(raw)
        assert tokenizer.chat(said) == "hello"
        ids.append(tokenizer.encode(tokenizer.chat(said)).ids)
        assert ids[-1].count(raw.bos_token_id) == 1
    assert ids[0] == ids[1]
