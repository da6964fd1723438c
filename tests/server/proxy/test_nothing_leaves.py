"""Whatever a body is, what was planted in it does not leave: it is replaced, or all is refused."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.server.errors import ApiError
from endoscope.server.proxy import requests
from endoscope.server.proxy.marks import document_text, replace
from endoscope.server.proxy.placeholders import Form
from endoscope.server.proxy.readers import Plan, Reader, finish
from endoscope.server.proxy.restore import restore
from endoscope.server.proxy.vault import Vault
from tests.server.proxy.provider import guard
from tests.server.proxy.test_requests import everything

PLANTED = ("Mary Jones", "hunter2word7", "田中太郎")
GUARD = guard(SECRET="hunter2word7")
COMPLETION = {"model": "m", "prompt": ["a", "b"], "suffix": "c", "stop": "d", "user": "e", "n": 1}
EMBEDDING = {"model": "m", "input": ["a", "b"], "user": "e", "encoding_format": "float"}

TEXT = st.tuples(
    st.sampled_from(["", "I am ", "\\", '"', "[NAME_1] ", "{", '{"a": "']),
    st.sampled_from(PLANTED),
    st.sampled_from(["", ".", "\\", '"', " [SECRET_2]", "}", '"}']),
).map("".join)
ANY = st.recursive(
    TEXT | TEXT.map(json.dumps) | TEXT.map(lambda text: json.dumps({text: [text]})) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in some JSON."""
    yield place
    inner = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in inner:
        yield from places(value[key], (*place, key))


def planted(body: Any, place: tuple[Any, ...], what: Any, name: str | None) -> Any:
    """A body with something at a place, or under a name of its own there."""
    body = copy.deepcopy(body)
    if not place:
        return what
    at = body
    for key in place[:-1]:
        at = at[key]
    if name is not None and isinstance(at, dict):
        at[name] = what
    else:
        at[place[-1]] = what
    return body


def outgoing(reader: Reader, body: Any, vault: Vault) -> Any:
    plan = Plan(b"key")
    outgoing = reader(body, "", plan)
    texts = [document_text(document) for document in plan.documents]
    replace(plan.documents, dict(zip(texts, GUARD.scan(texts), strict=True)), vault)
    return finish(outgoing)


@pytest.mark.parametrize(
    ("reader", "body"),
    [
        (requests.CHAT, everything()),
        (requests.COMPLETION, COMPLETION),
        (requests.EMBEDDING, EMBEDDING),
    ],
    ids=["chat", "completion", "embedding"],
)
@given(data=st.data())
def test_whatever_stands_wherever(reader: Reader, body: Any, data: st.DataObject) -> None:
    somewhere = [place for place in places(body) if place != ("model",)]  # a name; not scanned
    place = data.draw(st.sampled_from(somewhere))
    name = data.draw(st.none() | TEXT | st.sampled_from(["name", "text", "content", "x"]))
    given_ = planted(body, place, data.draw(ANY), name)
    vault = Vault(Form(GUARD.policy.redacted))
    try:
        sent = outgoing(reader, given_, vault)
    except ApiError as error:
        sent = error.body
    raw = json.dumps(sent)
    left = raw + json.dumps(sent, ensure_ascii=False) + raw.encode().decode("unicode_escape")
    assert not [value for value in PLANTED if value in left]


@given(text=TEXT)
def test_a_message_comes_back_as_it_was(text: str) -> None:
    vault = Vault(Form(GUARD.policy.redacted))
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    sent = outgoing(requests.CHAT, body, vault)["messages"][0]["content"]
    assert restore(sent, vault) == text
