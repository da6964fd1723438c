"""Neither logs nor metrics nor errors hold what clients and providers say."""

import io
import json
import logging
import time
from collections.abc import Iterator

import httpx
import pytest

from endoscope.server import logs
from tests.server.proxy.provider import SECRETS, Pair, chat, chunk
from tests.server.proxy.test_requests import everything


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    stream = io.StringIO()
    logs.start("debug", stream)
    root.setLevel(logging.DEBUG)  # worse than anybody runs it
    yield stream
    root.handlers = before
    root.setLevel(level)


def test_logs_say_what_happened_and_to_nobody(pair: Pair, written: io.StringIO) -> None:
    pair.provider.answer = lambda body: chat("[NAME_1] of Secretville")
    assert pair.post("/v1/chat/completions", everything()).status_code == 200
    broken = [chunk({"content": "[NAME_1] Secretville"}).encode()]
    pair.provider.answer = lambda body: pair.provider.stream(broken, die=True)
    pair.post("/v1/chat/completions", everything() | {"stream": True})
    httpx.get(pair.url + "/Mary Jones?q=John Smith")
    httpx.post(pair.url + "/v1/chat/completions?q=Mary Jones", json={})
    pair.post("/v1/chat/completions", {"model": "Mary Jones"}, headers={"authorization": "sk-1"})

    def fails(*_: object) -> None:
        raise RuntimeError("about Mary Jones")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair.proxy.scanner, "scan", fails)
        answer = pair.post("/v1/chat/completions", everything())
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    while written.getvalue().count('"event": "request"') < 6:  # written after the answer
        time.sleep(0.01)
    text = written.getvalue()
    assert not [secret for secret in (*SECRETS, "Secretville", "sk-1") if secret in text]
    lines = [json.loads(line) for line in text.splitlines()]
    done = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in done] == [200, 200, 403, 400, 400, 500]
    assert done[0]["path"] == "/v1/chat/completions"
    assert done[0]["replaced"]["NAME"] > 10
    assert done[0]["upstream"] == 200
    assert done[0]["characters"] > 100
    assert {"code": "upstream_broke_off"}.items() <= next(
        line for line in lines if line["event"] == "upstream"
    ).items()
    failed = next(line for line in lines if line["event"] == "failed")
    assert failed["error"] == "RuntimeError"


def test_metrics_count(pair: Pair) -> None:
    pair.post("/v1/chat/completions", everything())
    text = httpx.get(pair.url + "/metrics").text
    assert 'endoscope_proxy_replaced_total{label="NAME"}' in text
    assert 'endoscope_proxy_responses_total{path="/v1/chat/completions",status="200"}' in text
    assert "endoscope_proxy_sessions 0.0" in text
    assert not [secret for secret in SECRETS if secret in text]


def test_health(pair: Pair) -> None:
    assert httpx.get(pair.url + "/health").json() == {"status": "ok"}
    assert httpx.get(pair.url + "/ready").json() == {"status": "ready"}
    pair.proxy.edge.draining = True
    try:
        assert httpx.get(pair.url + "/ready").status_code == 503
        assert httpx.get(pair.url + "/health").status_code == 200
        assert pair.post("/v1/chat/completions", {}).status_code == 503
    finally:
        pair.proxy.edge.draining = False


def test_what_was_scanned_is_not_scanned_again_for_the_same_client(pair: Pair) -> None:
    scorer = pair.proxy.scanner.guard._scorers["en"]

    def calls(key: str) -> int:
        before = scorer.calls  # type: ignore[attr-defined]
        body = {"model": "m", "messages": [{"role": "user", "content": "Once, Mary Jones."}]}
        headers = {"authorization": f"Bearer {key}"}
        assert pair.post("/v1/chat/completions", body, headers=headers).status_code == 200
        assert pair.provider.bodies[-1]["messages"][0]["content"] == "Once, [NAME_1]."
        return int(scorer.calls - before)  # type: ignore[attr-defined]

    assert [calls("sk-7"), calls("sk-7"), calls("sk-8")] == [1, 0, 1]
