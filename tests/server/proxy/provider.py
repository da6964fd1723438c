"""A proxy and a provider on loopback; the provider writes down what reaches it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from endoscope.guard import Guard, Policy
from endoscope.server.auth import Keys
from endoscope.server.proxy import Proxy, Settings
from endoscope.server.proxy.upstream import Upstream
from tests.scorers import NAMES, PatternScorer

# What is planted in requests, and must reach no provider.
SECRETS = (
    "Mary Jones",
    "Jones",
    "John Smith",
    "田中太郎",
    "020 7946 0958",
    "442079460958",
    "mary@example.com",
    "4111111111111111",
)


def guard(**patterns: str) -> Guard:
    """A guard that finds the names of the tests by pattern, and the rest by form."""
    policy = Policy.load("pii")
    found = dict.fromkeys(policy.labels, "$^") | NAMES | {"PHONE": "020 7946 0958|442079460958"}
    return Guard(policy, PatternScorer(found | patterns))


class Serving:
    """An application on a free port of loopback, on a thread of its own."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(
            app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            threading.Event().wait(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


class Provider:
    """A scripted provider.

    Attributes:
        bodies: the JSON of each request, and `raw` its bytes and headers.
        answer: what to say to a request: a response, or its JSON.
        closed: set when a stream was left before its end.
    """

    def __init__(self) -> None:
        self.reset()
        methods = ["GET", "POST", "PUT", "DELETE"]
        self.app = Starlette(routes=[Route("/{path:path}", self._take, methods=methods)])

    def reset(self) -> None:
        """Forget everything."""
        self.bodies: list[Any] = []
        self.raw: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.answer: Callable[[Any], Any] = lambda body: chat("ok")
        self.closed = threading.Event()

    async def _take(self, request: Request) -> Response:
        raw = await request.body()
        self.raw.append((dict(request.headers), raw))
        self.paths.append(str(request.url.path) + "?" * bool(request.url.query))
        self.bodies.append(json.loads(raw) if raw else None)
        found = self.answer(self.bodies[-1])
        return found if isinstance(found, Response) else JSONResponse(found)

    def everything(self) -> str:
        """All that ever reached it, escapes of JSON undone."""
        texts = [json.dumps(body, ensure_ascii=False) for body in self.bodies]
        for headers, raw in self.raw:
            texts += [repr(headers), raw.decode("utf-8", "replace")]
        return "\n".join(texts).encode().decode("unicode_escape", "replace") + "\n".join(texts)

    def stream(
        self, pieces: list[bytes], *, pause: float = 0.0, hang: bool = False, die: bool = False
    ) -> StreamingResponse:
        """Events, cut as given."""

        async def events() -> AsyncIterator[bytes]:
            done = False
            try:
                for piece in pieces:
                    yield piece
                    await asyncio.sleep(pause)
                if hang:
                    await asyncio.sleep(30)
                if die:
                    raise ConnectionResetError
                done = True
            finally:
                if not done:
                    self.closed.set()

        return StreamingResponse(events(), media_type="text/event-stream")


def chat(content: str | None, **message: Any) -> dict[str, Any]:
    """A chat completion as OpenAI has it."""
    said = {"role": "assistant", "content": content, "refusal": None, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        "system_fingerprint": "fp",
    }


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> str:
    """One event of a streamed chat."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return "data: " + json.dumps({**head, "choices": [choice]}) + "\n\n"


class Pair:
    """A proxy before a provider, and a client of the proxy."""

    def __init__(self, provider: Provider, proxy: Proxy, url: str) -> None:
        self.provider = provider
        self.proxy = proxy
        self.url = url
        self.client = OpenAI(base_url=f"{url}/v1", api_key="sk-client", max_retries=0, timeout=20)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send something to the proxy without the help of a client."""
        given = options if body is None else {"json": body, **options}
        return httpx.post(self.url + path, timeout=20, **given)


@contextmanager
def served(
    guard: Guard,
    settings: Settings | None = None,
    keys: Keys | None = None,
    **upstream: Any,
) -> Iterator[Pair]:
    """A proxy before a scripted provider."""
    provider = Provider()
    with Serving(provider.app) as provided:
        proxy = Proxy(guard, Upstream(provided, **upstream), settings, keys)
        with Serving(proxy.edge) as url:
            pair = Pair(provider, proxy, url)
            yield pair
            pair.client.close()
