"""The log says what happened, and nothing that anybody said."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from endoscope.server.auth import Keys
from endoscope.server.logs import JsonLines, start
from tests.server.conftest import Serving
from tests.server.serving import D_MODEL, eventually, fake_served, running

PERSON, KEY = "Mary Jones", "key-" + "k" * 30
SAID = f"say:{PERSON}, 020 7946 0958"
AUTH = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the log of this process says, from its first line on."""
    root = logging.getLogger()
    before = (root.handlers, root.level)
    stream = io.StringIO()
    start("debug", stream)
    logging.getLogger("uvicorn").setLevel(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.DEBUG)
    yield stream
    root.handlers, level = before
    root.setLevel(level)


BODIES: list[Any] = [
    {"messages": [{"role": "user", "content": SAID}]},
    {"messages": [{"role": "user", "content": SAID}], "stream": True, "logprobs": True},
    {"messages": [{"role": "user", "content": SAID}], "user": PERSON, "stop": [PERSON[:3]]},
    {"messages": [{"role": "user", "content": f"FAIL {SAID}"}]},
    {"messages": [{"role": "user", "content": f"FAIL {SAID}"}], "stream": True},
    {"messages": [{"role": PERSON, "content": SAID}]},
    {"messages": [{"role": "user", "content": {PERSON: SAID}}]},
    {"messages": SAID},
    {PERSON: SAID},
    {"messages": [], "temperature": SAID},
    {"model": PERSON, "messages": [{"role": "user", "content": SAID}]},
    {"messages": [{"role": "user", "content": SAID}], "endoscope": {"probes": [PERSON]}},
    {"messages": [{"role": "user", "content": SAID}], "endoscope": {"guards": ["flags", "names"]}},
    {"messages": [{"role": "user", "content": SAID}], "endoscope": {"guards": ["stops"]}},
    {
        "messages": [{"role": "user", "content": SAID}],
        "endoscope": {
            "interventions": [
                {"kind": "add", "site": PERSON, "strength": 1, "vector": [1.0] * D_MODEL}
            ]
        },
    },
]


def test_nothing_that_was_said_is_in_the_log(written: io.StringIO) -> None:
    with running(fake_served(keys=Keys([KEY]))) as (url, app):
        server = Serving(url, app)
        for body in BODIES:
            server.post("/v1/chat/completions", {"model": "fake"} | body, headers=AUTH)
            server.post("/v1/chat/completions", body, headers={"Authorization": f"Bearer {PERSON}"})
        server.post("/v1/completions", {"model": "fake", "prompt": SAID}, headers=AUTH)
        server.post("/v1/guard", {"text": SAID, "policy": "names"}, headers=AUTH)
        server.post("/v1/guard", {"text": SAID, "policy": PERSON}, headers=AUTH)
        httpx.get(f"{url}/v1/models/{PERSON}", headers=AUTH)
        httpx.get(f"{url}/{PERSON}?q={PERSON}", headers=AUTH)
        httpx.post(
            f"{url}/v1/completions",
            content=SAID,
            headers={"Content-Type": "application/json"} | AUTH,
        )
    log = written.getvalue()
    assert len(log.splitlines()) > 2 * len(BODIES)
    for secret in ("Mary", "Jones", "7946", KEY, KEY[4:], "%20"):
        assert secret not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["event"] for line in lines} >= {"request", "failed", "listening"}
    failed = [line for line in lines if line["event"] == "failed"]
    assert failed[0]["error"] == "RuntimeError"
    assert any(place.startswith("fake.py:") for place in failed[0]["where"])


def test_a_request_has_a_line_of_figures(written: io.StringIO) -> None:
    with running(fake_served()) as (url, app):
        server = Serving(url, app)
        body = {"model": "loud", "prompt": "say:abc", "stream": True, "n": 2}
        answer = server.post("/v1/completions", body)
        asyncio.run(eventually(lambda: '"path": "/v1/completions"' in written.getvalue()))
        server.post("/v1/guard", {"text": f"{PERSON} and {PERSON}", "policy": "names"})
        server.post("/v1/completions", {"model": "fake"})
        httpx.get(f"{url}/health")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    streamed, guard, failed, health = (one for one in lines if one["event"] == "request")
    assert streamed["request"] == answer.headers["x-request-id"]
    assert (streamed["model"], streamed["path"]) == ("loud", "/v1/completions")
    assert (streamed["status"], streamed["outcomes"]) == (200, {"stop": 2})
    assert (streamed["prompt_tokens"], streamed["completion_tokens"]) == (8, 8)
    assert 0 <= streamed["first_token"] <= streamed["seconds"]
    assert guard["found"] == {"NAME": 2}
    assert (failed["status"], failed["code"], failed["param"]) == (400, "missing", "prompt")
    assert health["level"] == "debug"


def test_of_libraries_only_the_fixed_words_are_kept() -> None:
    record = logging.LogRecord(
        "asyncio", logging.ERROR, "x.py", 1, f"never retrieved\nfuture: {PERSON}", (), None
    )
    line = json.loads(JsonLines().format(record))
    assert line["message"] == "never retrieved"
    with_arguments = logging.LogRecord(
        "uvicorn", logging.INFO, "x.py", 1, '"%s" %d', (PERSON, 200), None
    )
    assert PERSON not in JsonLines().format(with_arguments)
