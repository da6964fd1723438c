"""Stop texts are found wherever the text is cut, and nothing else is kept back for long."""

from hypothesis import example, given
from hypothesis import strategies as st

from endoscope.engine.stopping import StopTexts

ALPHABET = "ab\nあ"
STOPS = st.lists(st.text(ALPHABET, min_size=1, max_size=4), min_size=1, max_size=3)


def first_stop(text: str, stops: list[str]) -> int | None:
    """Where the stop text begins that is complete first, and of those the longest."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return min(starts)
    return None


@given(st.lists(st.text(ALPHABET, max_size=4), max_size=10), STOPS)
@example(["a", "a", "b"], ["aab"])
@example(["ab"], ["b", "ab"])
def test_the_text_ends_at_the_first_stop(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    found = StopTexts(tuple(stops))
    out, came = "", ""
    for piece in pieces:
        came += piece
        text, stopped = found.push(piece)
        out += text
        if stopped:
            break
        # What is kept back is no longer than it must be: it is the beginning of a stop text.
        kept = came[len(out) :]
        assert came == out + kept
        assert not kept or any(stop.startswith(kept) and stop != kept for stop in stops)
        longer = [came[-n:] for n in range(len(kept) + 1, len(came) + 1)]
        assert not any(stop.startswith(one) for one in longer for stop in stops)
    else:
        out += found.finish()
        assert first_stop(whole, stops) is None
        assert out == whole
        return
    start = first_stop(whole, stops)
    assert start is not None
    assert out == whole[:start]


def test_without_stop_texts_nothing_is_kept_back() -> None:
    found = StopTexts(())
    assert found.push("any text") == ("any text", False)
    assert found.finish() == ""
