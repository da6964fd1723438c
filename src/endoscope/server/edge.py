"""The outermost layer of a server: what holds for every request, whatever it asks for."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from endoscope.server.auth import Keys
from endoscope.server.errors import ApiError, fault, overloaded
from endoscope.server.logs import log

T = TypeVar("T")
MOST_BYTES = 4 * 2**20
_BODY_SECONDS = 60.0
_QUIET = frozenset({"/health", "/ready", "/metrics"})  # asked for every few seconds
_OPEN = frozenset({"/health", "/ready", "/docs", "/openapi.json"})  # tell nothing of anybody
_LOOPBACK = ("127.0.0.1", "::1")
LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""How a server on this machine is called from this machine."""


def hosts_of(address: str, keys: Keys) -> frozenset[str] | None:
    """Return what a server may be called; None: anything.

    Args:
        address: where it listens.
        keys: the keys that open it. Without any, one that listens to this machine alone answers to
            its own names alone (see `Edge`).
    """
    return LOCAL if address in ("localhost", *_LOOPBACK) and not keys else None


class Edge:
    """Gives each request an id and a log line, asks for the key, limits the body, answers failures.

    The key is asked for before anything of the body is read. Health, readiness and the description
    need none; metrics need none from this machine itself. What is to be in the log line is put
    into `scope["endoscope.note"]`: figures and names, never text. The line has the pattern of the
    path, for a path itself may hold anything.

    Args:
        app: what answers.
        keys: the keys that open the server.
        hosts: names that the server may be called by; None: any. A page in a browser that has its
            own name point to this machine (DNS rebinding) calls it by that.
        most_bytes: the longest body.
        body_seconds: in which all of a body has to come.
        count: called with the path's pattern and the status of each answer.

    Attributes:
        draining: requests but for health get 503 from now on: the server is about to end.
        running: requests being answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys | None = None,
        hosts: frozenset[str] | None = None,
        most_bytes: int = MOST_BYTES,
        body_seconds: float = _BODY_SECONDS,
        count: Callable[[str, int], None] = lambda path, status: None,
    ) -> None:
        self.app = app
        self.keys = keys or Keys()
        self.hosts = hosts
        self.most_bytes = most_bytes
        self.body_seconds = body_seconds
        self.count = count
        self.draining = False
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = _Call(scope, receive, send, self.most_bytes, self.body_seconds)
        self.running += 1
        try:
            await self._answer(call)
        finally:
            self.running -= 1
            self.count(call.path or "none", call.status or 499)
            call.write_log()

    async def _answer(self, call: "_Call") -> None:
        try:
            if self.draining and call.scope["path"] not in _QUIET:
                raise overloaded(503, "The server is ending: try another.", "ending", 5)
            self._check_host(Headers(scope=call.scope).get("host", ""))
            if not _is_open(call.scope):
                self.keys.check(Headers(scope=call.scope).get("authorization"))
            call.check_length()
            await self.app(call.scope, call.receive, call.send)
        except ApiError as error:
            await call.refuse(error)
        except Exception as error:
            log("failed", "error", error=error, request=call.id)
            await call.refuse(fault())

    def _check_host(self, host: str) -> None:
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if self.hosts is not None and name.lower() not in self.hosts:
            message = "The server is open to this machine alone: call it localhost."
            raise ApiError(403, message, code="wrong_host")


def _is_open(scope: Scope) -> bool:
    near = (scope.get("client") or ("",))[0] in _LOOPBACK
    return scope["path"] in _OPEN or (scope["path"] == "/metrics" and near)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what work gives; cancel it if the client goes away before.

    Raises:
        ApiError: 499, which nobody reads; the log has it.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_leaving(request))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise _gone()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _leaving(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _gone() -> ApiError:
    return ApiError(499, "The client has gone.", code="client_gone")


class _Call:
    """One request on its way through."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, most_bytes: int, body_seconds: float
    ) -> None:
        self.id = f"req_{uuid4().hex}"
        self.scope = scope
        self.note: dict[str, Any] = {}
        scope["endoscope.note"] = self.note
        scope["endoscope.id"] = self.id
        self._receive = receive
        self._send = send
        self._most = most_bytes
        self._read = 0
        self._whole = False  # whether all of the body has come
        self.status: int | None = None
        self._began = time.monotonic()
        self._body_until = self._began + body_seconds

    def check_length(self) -> None:
        length = Headers(scope=self.scope).get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._most:
            raise self._too_large()

    def _too_large(self) -> ApiError:
        message = f"The body is longer than {self._most:,} bytes: send less at once."
        return ApiError(413, message, code="too_large")

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._body_until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            late = "The body did not come in time: send it faster, or less."
            raise ApiError(408, late, code="body_timeout") from None
        if message["type"] == "http.disconnect":
            raise _gone()
        self._whole = not message.get("more_body", False)
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.id
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        self.note |= {"code": error.code}
        if self.status is None:
            answer = JSONResponse(error.body, error.status, error.headers)
            await answer(self.scope, self._receive, self.send)

    @property
    def path(self) -> str | None:
        """The pattern of the path that answered; what was asked for may be anything."""
        return getattr(self.scope.get("route"), "path", None)

    def write_log(self) -> None:
        path = self.path
        failed = self.status is None or self.status >= 500
        level = "warning" if failed else "debug" if path in _QUIET else "info"
        log(
            "request",
            level,
            request=self.id,
            method=self.scope["method"] if path else None,
            path=path,
            status=self.status,
            seconds=round(time.monotonic() - self._began, 4),
            **self.note,
        )
