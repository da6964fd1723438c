"""Answers that go through guards: what is held, replaced, stopped, told."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from endoscope.guard import Rule
from tests.server.conftest import Serving
from tests.server.fake import LOGPROB
from tests.server.serving import ADD, eventually, fake_guard, fake_served, running

TEXT = "I am Mary Jones, and you?"
START, END = 5, 15


def guarded(
    serving: Serving, *guards: str, stream: bool = False, text: str = TEXT, **more: Any
) -> Any:
    """Ask for a text through guards; what came, joined: text, finish, ours, logprobs."""
    made: Any = serving.client().completions.create(
        model="fake",
        prompt=f"say:{text}",
        max_tokens=100,
        stream=stream,
        logprobs=1,
        extra_body={"endoscope": {"guards": list(guards), **more}},
    )
    found: dict[str, Any] = {"text": "", "finish": None, "spans": [], "actions": [], "tokens": []}
    found["readings"] = []
    found["pieces"] = []
    for part in made if stream else [made]:
        choice = part.choices[0]
        found["text"] += choice.text
        found["pieces"].append(choice.text)
        found["finish"] = choice.finish_reason or found["finish"]
        ours = getattr(choice, "endoscope", None) or {}
        found["spans"] += ours.get("guard", {}).get("spans", [])
        found["actions"] += ours.get("guard", {}).get("actions", [])
        found["readings"] += ours.get("readings", {}).get("words", [])
        found["names"] = list(ours.get("readings", {}))
        if choice.logprobs:
            found["tokens"] += zip(choice.logprobs.tokens, choice.logprobs.text_offset, strict=True)
            assert set(choice.logprobs.token_logprobs) <= {LOGPROB}
    return found


def span(policy: str, action: str) -> dict[str, Any]:
    return {
        "policy": policy,
        "start": START,
        "end": END,
        "label": "NAME",
        "score": pytest.approx(0.9),
        "action": action,
    }


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_guard_replaces_never_leaves(serving: Serving, stream: bool) -> None:
    found = guarded(serving, "names", stream=stream)
    assert found["text"] == "I am [NAME], and you?"
    assert found["finish"] == "stop"
    assert found["spans"] == [span("names", "redact")]
    assert found["actions"] == []
    told = {at for _, at in found["tokens"]}
    assert told == {*range(len(TEXT))} - {*range(START, END)}, "nor do its tokens"
    assert all(token == TEXT[at] for token, at in found["tokens"])


def test_a_stream_and_the_offline_guard_agree(serving: Serving) -> None:
    offline = serving.post("/v1/guard", {"text": TEXT, "policy": "names"}).json()["redacted"]
    assert guarded(serving, "names", stream=True)["text"] == offline


def test_what_is_certain_does_not_wait_for_the_end(serving: Serving) -> None:
    pieces = guarded(serving, "names", stream=True)["pieces"]
    assert len(pieces) > 5
    assert "[NAME]" not in pieces[0]


@pytest.mark.parametrize("stream", [False, True])
def test_flags_are_told_and_change_nothing(serving: Serving, stream: bool) -> None:
    found = guarded(serving, "flags", stream=stream)
    assert found["text"] == TEXT
    assert found["spans"] == [span("flags", "flag")]
    assert len(found["tokens"]) == len(TEXT)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_ends_the_answer_before_the_value(serving: Serving, stream: bool) -> None:
    found = guarded(serving, "stops", stream=stream)
    assert found["text"] == "I am "
    assert found["finish"] == "content_filter"
    (action,) = found["actions"]
    assert (action["action"], action["label"], action["policy"]) == ("stop", "NAME", "stops")
    assert all(at < START for _, at in found["tokens"])
    asyncio.run(eventually(lambda: not serving.engine.active))


def test_a_guard_that_steers_puts_its_interventions_on(serving: Serving) -> None:
    found = guarded(serving, "steers")
    assert found["text"] == "I am [NAME], and you?"
    assert [a["action"] for a in found["actions"]] == ["steer"]
    (_, (intervention,)) = serving.engine.intervened[-1]
    assert intervention.model_dump(mode="json")["vector"] == ADD["vector"]


def test_several_guards_and_a_probe(serving: Serving) -> None:
    found = guarded(serving, "flags", "names", probes=["words"], stream=True)
    assert found["text"] == "I am [NAME], and you?"
    assert {s["policy"] for s in found["spans"]} == {"flags", "names"}
    positions = [position for position, _ in found["readings"]]
    prompt = len(f"say:{TEXT}") + 1
    assert positions == list(range(prompt + len(TEXT) + 1))


def test_what_guards_read_is_not_told(serving: Serving) -> None:
    assert guarded(serving, "names")["names"] == []


def test_held_tokens_count_as_used(serving: Serving) -> None:
    body = {"model": "fake", "prompt": f"say:{TEXT}", "max_tokens": 100}
    body |= {"endoscope": {"guards": ["names"]}}
    used = serving.post("/v1/completions", body).json()["usage"]
    assert used["completion_tokens"] == len(TEXT) + 1


def test_a_chat_is_guarded_as_well(serving: Serving) -> None:
    stream = serving.client().chat.completions.create(
        model="fake",
        messages=[{"role": "user", "content": f"say:{TEXT}"}],
        stream=True,
        logprobs=True,
        extra_body={"endoscope": {"guards": ["names"]}},
    )
    chunks = [chunk.choices[0] for chunk in stream]
    assert "".join(c.delta.content or "" for c in chunks) == "I am [NAME], and you?"
    tokens = [t.token for c in chunks if c.logprobs for t in c.logprobs.content or []]
    assert "".join(tokens) == TEXT[:START] + TEXT[END:]


def test_metrics_count_what_guards_did() -> None:
    with running(fake_served()) as (url, app):
        server = Serving(url, app)
        guarded(server, "names")
        guarded(server, "stops")
        text = httpx.get(f"{url}/metrics").text
    for labels in ('action="redact",label="NAME",policy="names"', 'action="stop",label="NAME"'):
        assert f"endoscope_guard_actions_total{{{labels}" in text


@contextmanager
def hook(answer: bytes, status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """A URL that answers what it is told to, and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (b'{"confirmed": false}', 200, TEXT),
        (b'{"confirmed": true}', 200, "I am [NAME], and you?"),
        (b'{"confirmed": false}', 500, "I am [NAME], and you?"),
        (b"nonsense", 200, "I am [NAME], and you?"),
        (b"[]", 200, "I am [NAME], and you?"),
    ],
)
def test_a_hook_decides_and_gets_no_text(answer: bytes, status: int, text: str) -> None:
    with hook(answer, status) as (url, asked):
        asks = fake_guard("asks", Rule(action="escalate", hook=url))
        with running(fake_served(guards={"asks": asks})) as (base, app):
            found = guarded(Serving(base, app), "asks", stream=True)
    assert found["text"] == text
    assert [a["action"] for a in found["actions"]] == ["escalate"]
    (record,) = asked
    assert set(record) == {"policy", "label", "score", "request", "start", "end"}
    assert (record["start"], record["end"], record["label"]) == (START, END, "NAME")


def test_a_guard_that_cannot_score_ends_the_answer(serving: Serving) -> None:
    whole = fake_guard("broken")
    broken = replace(whole, watch=lambda request: Silent(whole.watch(request)))
    with running(fake_served(guards={"broken": broken})) as (url, app):
        server = Serving(url, app)
        body = {"model": "fake", "prompt": f"say:{TEXT}", "endoscope": {"guards": ["broken"]}}
        answer = server.post("/v1/completions", body)
        asyncio.run(eventually(lambda: not server.engine.active))
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "engine_error"
    assert "Mary" not in answer.text


class Silent:
    """A watch whose probe has seen nothing."""

    def __init__(self, watch: Any) -> None:
        self.policy, self.stream = watch.policy, watch.stream

    def take(self, step: Any) -> Any:
        released = self.stream.push(step.text)
        return self.stream.finish() if step.finish else released
