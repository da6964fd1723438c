"""A judge behind an OpenAI-compatible address, which may be slow, down, or talk nonsense."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from endoscope.behaviours import Item
from endoscope.behaviours.scorers import JudgeScorer
from endoscope.behaviours.scorers import judge as module
from endoscope.errors import InputError

ITEMS = [Item(id=str(n), prompt=f"prompt {n}") for n in range(3)]


class Answering:
    """Stands for a model that answers with what it was asked."""

    class tokenizer:  # noqa: N801
        can_chat = True

    def generate(self, prompts: list[Any], **options: Any) -> list[str]:
        return [f"answer to {prompt[0]['content']}" for prompt in prompts]


class Judge:
    """A server whose answers a test sets; it keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, Any]] = []
        self.seen: list[tuple[dict[str, Any], str | None]] = []
        self.wait = 0.0


@pytest.fixture
def judge() -> Iterator[tuple[Judge, str]]:
    judge = Judge()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            judge.seen.append((json.loads(body), self.headers.get("authorization")))
            time.sleep(judge.wait)
            status, content = judge.replies.pop(0)
            if isinstance(content, str):
                content = {"choices": [{"message": {"content": content}}]}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield judge, f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT", 0.01)


def scored(address: str, **more: Any) -> list[float]:
    scorer = JudgeScorer(kind="judge", question="Is it so?", address=address, model="j", **more)
    found = scorer.score(Answering(), ITEMS, seed=0, progress=False)  # type: ignore[arg-type]
    assert [one.output for one in found] == [f"answer to prompt {n}" for n in range(3)]
    return [one.value for one in found]


def test_it_is_asked_about_each_answer(
    judge: tuple[Judge, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    it, address = judge
    it.replies = [(200, "Yes."), (200, " no, it is not"), (503, ""), (200, "**YES**")]
    monkeypatch.setenv("KEY", "secret")
    assert scored(address, key_env="KEY") == [1, 0, 1]  # after an error it is asked again
    for number, (body, key) in zip((0, 1, 2, 2), it.seen, strict=True):
        (message,) = body["messages"]
        assert f"prompt {number}" in message["content"]
        assert f"answer to prompt {number}" in message["content"]
        assert "Is it so?" in message["content"]
        assert key == "Bearer secret"


@pytest.mark.parametrize(
    ("replies", "says"),
    [
        ([(200, "Perhaps.")], "neither yes nor no of item 0"),
        ([(200, "Nowhere")], "neither yes nor no"),
        ([(401, "who?")], r"refuses \(401\)"),
        ([(200, {"hello": 1})], "no OpenAI-compatible"),
        ([(500, "")] * 3, "no answer in 3 tries"),
    ],
)
def test_what_it_does_wrong_is_said(
    judge: tuple[Judge, str], replies: list[tuple[int, Any]], says: str
) -> None:
    it, address = judge
    it.replies = replies
    with pytest.raises(InputError, match=says):
        scored(address)


def test_one_that_is_too_slow_or_not_there(judge: tuple[Judge, str]) -> None:
    it, address = judge
    it.wait, it.replies = 0.3, [(200, "yes")] * 3
    with pytest.raises(InputError, match="ReadTimeout"):
        scored(address, seconds=0.05)
    with pytest.raises(InputError, match="ConnectError"):
        scored("http://127.0.0.1:9/v1")


def test_a_key_that_is_not_set_is_said_before_anything_is_run(judge: tuple[Judge, str]) -> None:
    it, address = judge
    with pytest.raises(InputError, match="NOT_SET"):
        scored(address, key_env="NOT_SET")
    assert it.seen == []
