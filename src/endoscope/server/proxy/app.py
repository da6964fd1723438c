"""The proxy as an application: what it takes, and what becomes of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_bytes
from typing import Any

import httpx
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from endoscope.guard import Guard
from endoscope.server.auth import Keys
from endoscope.server.bodies import check_type, parse
from endoscope.server.edge import Edge, unless_gone
from endoscope.server.errors import ApiError
from endoscope.server.logs import log
from endoscope.server.proxy import requests
from endoscope.server.proxy.answers import Answers, Stream
from endoscope.server.proxy.marks import document_text, replace
from endoscope.server.proxy.metrics import Metrics
from endoscope.server.proxy.placeholders import Form
from endoscope.server.proxy.readers import Plan, Reader, finish
from endoscope.server.proxy.scanner import Scanner
from endoscope.server.proxy.sessions import Sessions
from endoscope.server.proxy.sse import BrokenStreamError, event
from endoscope.server.proxy.upstream import Upstream, failure, headers_back
from endoscope.server.proxy.vault import Vault

_READERS = {
    "/v1/chat/completions": requests.CHAT,
    "/v1/completions": requests.COMPLETION,
    "/v1/embeddings": requests.EMBEDDING,
}
_AS_IT_IS = ("/v1/embeddings", "/v1/models")  # there is nothing to put back
_REFUSED = """
    responses conversations files uploads images audio batches fine_tuning moderations assistants
    threads vector_stores realtime videos containers evals"""
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_SWEEP = 30.0  # seconds between looks for sessions that have been idle


@dataclass(frozen=True)
class Settings:
    """How a proxy behaves.

    Args:
        session_ttl: seconds without a request after which a session is forgotten.
        most_characters: the longest request, without what was scanned before.
    """

    session_ttl: float = 3600.0
    most_characters: int = 200_000


class Proxy:
    """The application. `edge` is what to serve.

    Args:
        guard: finds what must not leave.
        upstream: where scrubbed requests go.
        settings: how it behaves.
        keys: what clients must send, if the provider's key is not theirs.
        hosts: names that the proxy may be called by (see `Edge`).

    Raises:
        InputError: the policy has a label that cannot be a placeholder.
    """

    def __init__(
        self,
        guard: Guard,
        upstream: Upstream,
        settings: Settings | None = None,
        keys: Keys | None = None,
        hosts: frozenset[str] | None = None,
    ) -> None:
        settings = settings or Settings()
        form = Form(guard.policy.redacted)
        self.upstream = upstream
        self.scanner = Scanner(guard, settings.most_characters)
        self.sessions = Sessions(form, settings.session_ttl)
        self.metrics = Metrics(lambda: len(self.sessions))
        self._key = token_bytes(32)
        routes = [Route(path, self._forward, methods=_METHODS) for path in _READERS]
        routes += [
            Route("/v1/models", self._models, methods=_METHODS),
            Route("/health", self._health, methods=_METHODS),
            Route("/ready", self._ready, methods=_METHODS),
            Route("/metrics", self._metrics, methods=_METHODS),
        ]
        router = Router(routes, redirect_slashes=False, default=_refuse, lifespan=self._lifespan)
        self.edge = Edge(router, keys=keys, hosts=hosts, count=self.metrics.answered)

    async def _forward(self, request: Request) -> Response:
        _check_method(request, "POST")
        _check(request)
        path = request.url.path
        body = await parse(await request.body())
        vault = self.sessions.vault(request.headers)
        sent = await unless_gone(request, self._scrubbed(request, body, _READERS[path], vault))
        wanted = sent.get("response_format") or {}
        answers = Answers(vault, json_content=wanted.get("type", "text") != "text")
        data = json.dumps(sent, allow_nan=False).encode()
        return await self._answered(request, data, answers)

    async def _models(self, request: Request) -> Response:
        _check_method(request, "GET")
        _check_query(request)
        return await self._answered(request, None, Answers(self.sessions.vault({})))

    async def _scrubbed(
        self, request: Request, body: Any, reader: Reader, vault: Vault
    ) -> dict[str, Any]:
        """Return what goes out in place of a body."""
        began = time.monotonic()
        plan = Plan(self._key)
        outgoing = await asyncio.to_thread(reader, body, "", plan)  # a long one takes seconds
        owner = self.sessions.owner(request.headers)
        found = await self.scanner.scan(map(document_text, plan.documents), owner)
        counts = await self.scanner.run(replace, plan.documents, found, vault)
        replaced, seconds = dict(sorted(counts.items())), round(time.monotonic() - began, 4)
        characters = sum(map(len, found))
        _note(request, characters=characters, replaced=replaced, scrub_seconds=seconds)
        self.metrics.scrubbed(replaced, characters, seconds)
        finished = finish(outgoing)
        assert isinstance(finished, dict)
        return finished

    async def _answered(self, request: Request, body: bytes | None, answers: Answers) -> Response:
        """Ask the provider and return its answer."""
        path = request.url.path.removeprefix("/v1")
        asked = self.upstream.send(request.method, path, request.headers, body)
        answer = await unless_gone(request, asked)
        headers = headers_back(answer)
        _note(request, upstream=answer.status_code)
        if headers.get("content-type", "").startswith("text/event-stream"):
            _note(request, streamed=True)
            return _Streamed(answer, Stream(answers), headers)
        content = await unless_gone(request, _read(answer))
        if request.url.path not in _AS_IT_IS or answer.is_error:
            content = answers.whole(content)
        return Response(content, answer.status_code, headers)

    async def _health(self, request: Request) -> Response:
        _check_method(request, "GET")
        return JSONResponse({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        _check_method(request, "GET")
        if self.edge.draining:
            return JSONResponse({"status": "ending"}, 503)
        return JSONResponse({"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        _check_method(request, "GET")
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        del app
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            self.sessions.clear()
            self.scanner.close()
            await self.upstream.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self.sessions.expire()

    def __repr__(self) -> str:
        return f"Proxy({self.upstream.url}, {len(self.sessions)} sessions)"


class _Streamed(StreamingResponse):
    """An answer that streams; the provider's is closed however this one ends."""

    def __init__(self, answer: httpx.Response, stream: Stream, headers: dict[str, str]) -> None:
        self._answer = answer
        self._stream = stream
        super().__init__(self._events(), answer.status_code, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream.events(self._answer.aiter_bytes()):
                yield piece
        except httpx.HTTPError as error:
            problem = failure(error)
        except BrokenStreamError:
            problem = ApiError(502, "The provider's answer makes no sense.", code="upstream_broken")
        else:
            return
        log("upstream", "warning", code=problem.code)
        yield event(json.dumps(problem.body))


async def _read(answer: httpx.Response) -> bytes:
    try:
        return await answer.aread()
    except httpx.HTTPError as error:
        raise failure(error) from None
    finally:
        await answer.aclose()


def _check(request: Request) -> None:
    """Refuse a request whose form alone says that it cannot be scanned."""
    _check_query(request)
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/"):
        message = "Files and multipart bodies cannot be scanned: send JSON."
        raise ApiError(400, message, code="not_scannable")
    check_type(kind)
    if request.headers.get("content-encoding", "identity") != "identity":
        message = "Compressed bodies are not read: send the JSON as it is."
        raise ApiError(415, message, code="unsupported_media_type")


def _check_method(request: Request, method: str) -> None:
    if request.method not in (method, "HEAD" if method == "GET" else method):
        raise ApiError(405, f"This path takes {method} alone.", code="method")


def _check_query(request: Request) -> None:
    if request.url.query:
        message = "Nothing after a ? is passed on: it would leave without being scanned."
        raise ApiError(400, message, code="not_scannable")


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a path that is not passed on."""
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
        return
    name = scope["path"].removeprefix("/v1/").partition("/")[0]
    known = ", ".join([*_READERS, "/v1/models"])
    what = f"/v1/{name}" if name in _REFUSED.split() else "This path"
    message = f"{what} is not passed on, for the proxy cannot scan it. It takes {known}."
    raise ApiError(403, message, code="endpoint_not_scanned")


def _note(request: Request, **fields: Any) -> None:
    """Put figures into the request's line of the log."""
    request.scope.get("endoscope.note", {}).update(fields)
