"""Sentences: by hand, and what holds of any text."""

from hypothesis import given
from hypothesis import strategies as st

from endoscope.diff.sentences import sentences


def test_sentences_by_hand() -> None:
    text = "No. Is it 3.5?  Yes!\n\n* a\n良い。はい！ end"
    assert [text[a:b] for a, b in sentences(text)] == [
        "No.",
        "Is it 3.5?",
        "Yes!",
        "* a",
        "良い。",
        "はい！",
        "end",
    ]


@given(st.text(st.sampled_from("ab .!?\n。！\t\u3000"), max_size=30))
def test_nothing_but_space_stands_outside_sentences(text: str) -> None:
    found = sentences(text)
    bounds = [0, *(place for one in found for place in one), len(text)]
    assert bounds == sorted(bounds)
    assert all(text[a:b].strip() for a, b in found)
    between = zip(bounds[::2], bounds[1::2], strict=True)
    assert not "".join(text[a:b] for a, b in between).strip()
