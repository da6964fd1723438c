"""What must hold for all texts: cuts do not matter, and what is put back is what was taken out."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from endoscope.server.proxy.answers import Answers, Stream
from endoscope.server.proxy.marks import document_text, replace
from endoscope.server.proxy.parts import read
from endoscope.server.proxy.placeholders import Form
from endoscope.server.proxy.restore import Restorer, restore
from endoscope.server.proxy.sse import Parser
from endoscope.server.proxy.vault import Vault, canonical
from tests.server.proxy.provider import guard

GUARD = guard()
FORM = Form(GUARD.policy.redacted)

# Fragments that make placeholders, nearly make them, or hold values.
FRAGMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["[", "]", "［", "］", "NAME", "name", "_", "\\_", "1", "2", "12", "[NAME_1]",
             "[EMAIL_1]", "[Date_of\\_birth_1]", "Mary Jones", "John Smith", "田中太郎",
             "a@example.com", " ", ", ", "[NAME_", "NAME_1]", "\\", '"', "\n", "é", "e\u0301",
             "\ud83d", "ſ", "[ſECRET_1]"]
        ),
        st.text(max_size=3),
    ),
    max_size=12,
).map("".join)  # fmt: skip
# A longer word, cut in tokens most of which nobody would take for a name, is another word.
LATIN_NAMES = regex.compile(r"(?<![\p{L}\p{M}])(?:Mary Jones|John Smith)(?![\p{L}\p{M}])")
CUTS = st.lists(st.integers(0, 200), max_size=12)


def cut(text: Any, places: list[int]) -> list[Any]:
    ends = [0, *sorted(place for place in places if place <= len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(ends)]


def vault() -> Vault:
    found = Vault(FORM)
    for value, label in (("Mary Jones", "NAME"), ('a"b\\c\nd', "SECRET"), ("[NAME_2]", "NAME")):
        found.placeholder(value, label, literal=value[0] == "[")
    return found


@given(text=FRAGMENTS, places=CUTS, inside_json=st.booleans())
@example(text="[NAME_1[NAME_1]", places=list(range(20)), inside_json=False)
@example(text="[name\\\\_1]［SECRET_1］[NAME_2]", places=list(range(40)), inside_json=True)
def test_however_a_text_is_cut(text: str, places: list[int], inside_json: bool) -> None:
    restorer = Restorer(vault(), inside_json=inside_json)
    pieces = [restorer.push(piece) for piece in cut(text, places)]
    whole = restore(text, vault(), inside_json=inside_json)
    assert "".join(pieces) + restorer.finish() == whole


@given(text=FRAGMENTS, places=CUTS)
def test_little_is_held_back(text: str, places: list[int]) -> None:
    restorer = Restorer(Vault(FORM))
    sent = given_ = ""
    for piece in cut(text, places):
        given_ += piece
        sent += restorer.push(piece)
        held = given_[len(sent) :]
        assert len(held) <= 130
        assert not held or held[0] in "[［"


def scrub(text: str, into: Vault) -> str:
    part = read(text, "x")
    document = list(part.leaves())
    whole = document_text(document)
    replace([document], {whole: GUARD.scan(whole)}, into)
    return part.render()


@given(text=FRAGMENTS)
@example(text="[NAME_1]")
@example(text="Mary Jones [NAME_1] [NAME_2] [name_1] John Smith")
@example(text="[NAME_Mary Jones]")
@example(text="[[NAME_1]]")
@example(text="e\u0301Mary Jonese\u0301")
def test_what_is_put_back_is_what_was_taken_out(text: str) -> None:
    """An echo of what went out is the text itself, if no value is there in two forms."""
    if "\\u" in text:
        return  # escapes go out as the letters that they mean
    into = Vault(FORM)
    sent = scrub(text, into)
    assert "田中太郎" not in sent
    assert not LATIN_NAMES.search(sent)
    surfaces = {text[span.start : span.end] for span in GUARD.scan(text)}
    same = (lambda text: text) if len(surfaces) == len(set(map(canonical, surfaces))) else canonical
    assert same(restore(sent, into)) == same(text)
    ours = {value.placeholder for value in into}
    assert {sent[start:end] for start, end, _ in FORM.find(sent)} <= ours


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | FRAGMENTS.filter(lambda text: "\\u" not in text),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FRAGMENTS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    value=st.lists(JSON, max_size=4), ascii_only=st.booleans(), indent=st.sampled_from([None, 1])
)
def test_json_that_holds_nothing_is_not_touched(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert read(text, "x").render() == text


def changed(value: Any, change: Callable[[str], str]) -> Any:
    """A value with its texts changed, found without a look at its JSON."""
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return change(value)
        nested = isinstance(inner, dict | list | str)
        return json.dumps(changed(inner, change)) if nested else change(value)
    if isinstance(value, list):
        return [changed(inner, change) for inner in value]
    if isinstance(value, dict):
        return {change(key): changed(inner, change) for key, inner in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = Decimal(json.dumps(value))
        if 1000 <= abs(number) < 10**40 and number == int(number):
            return change(str(int(number)))
    return value


def plain(value: Any) -> Any:
    """A value with the JSON in its texts as values too."""
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return ["json", plain(inner)] if isinstance(inner, dict | list | str) else value
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return value


@given(value=st.lists(JSON, max_size=4))
def test_json_with_every_text_changed_is_the_changed_json(value: Any) -> None:
    part = read(json.dumps(value), "x")
    for leaf in part.leaves():
        leaf.sent = f"<{leaf.text}>"
    wanted = changed(value, lambda text: f"<{text}>" if text else text)
    assert plain(json.loads(part.render())) == plain(wanted)


LINES = st.lists(
    st.sampled_from(
        ["data: {}", "data:x", "data: é", "data", ": ping", "event: e", "id: 1", "retry: 5", "", ""]
    ),
    max_size=12,
)


@given(lines=LINES, ends=st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=12), places=CUTS)
@example(lines=["data: {}", "id: 1"], ends=["\r\n"] * 12, places=[9, 9])
def test_events_are_those_that_openais_client_reads(
    lines: list[str], ends: list[str], places: list[int]
) -> None:
    text = "".join(line + end for line, end in zip(lines, ends, strict=False)) + "\n\n"
    raw = text.encode()
    parser = Parser()
    found = [event for piece in cut(raw, places) for event in parser.push(piece)]
    found += parser.finish()
    decoder = SSEDecoder()
    wanted = list(decoder.iter_bytes(iter([raw])))
    assert [event.data for event in found if event.data] == [s.data for s in wanted if s.data]
    # What is written again says the same, comments included.
    again = Parser()
    rewritten = list(again.push(b"".join(event.write(None) for event in found)))
    assert rewritten == found


@pytest.mark.parametrize("finish", [None, "stop"])
@given(told=FRAGMENTS, places=CUTS, bytes_at=CUTS)
def test_a_stream_says_what_the_whole_answer_says(
    finish: str | None, told: str, places: list[int], bytes_at: list[int]
) -> None:
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
        for piece in cut(told, places)
    ]
    chunks[-1]["choices"][0]["finish_reason"] = finish
    raw = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()

    async def run() -> bytes:
        async def source() -> Any:
            for piece in cut(raw, bytes_at):
                yield piece

        return b"".join([out async for out in Stream(Answers(vault())).events(source())])

    heard = ""
    for block in asyncio.run(run()).decode().split("\n\n"):
        if block:
            heard += json.loads(block.removeprefix("data: "))["choices"][0]["delta"]["content"]
    whole = json.dumps({"choices": [{"message": {"content": told}}]}).encode()
    wanted = json.loads(Answers(vault()).whole(whole))["choices"][0]["message"]["content"]
    assert heard == wanted
