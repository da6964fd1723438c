"""The outermost layer of a server: what holds for every request, whatever it asks for."""

import time
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from endoscope.server.errors import ApiError, overloaded
from endoscope.server.logs import log

MOST_BYTES = 4 * 2**20
_QUIET = frozenset({"/health", "/ready", "/metrics"})  # asked for every few seconds


class _TooLargeError(Exception):
    """A body that went on past the limit."""


class Edge:
    """Gives each request an id and a log line, limits its body, and answers what failed.

    What is to be in the log line is put into `scope["endoscope.note"]`: figures and names, never
    text. Without a path of the server's own in it, for a path may hold anything.

    Args:
        app: what answers.
        most_bytes: the longest body.

    Attributes:
        draining: requests but for health get 503 from now on: the server is about to end.
        running: requests being answered.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int = MOST_BYTES) -> None:
        self.app = app
        self.most_bytes = most_bytes
        self.draining = False
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = _Call(scope, receive, send, self.most_bytes)
        self.running += 1
        try:
            await self._answer(call)
        finally:
            self.running -= 1
            call.write_log()

    async def _answer(self, call: "_Call") -> None:
        try:
            if self.draining and call.scope["path"] not in _QUIET:
                raise overloaded(503, "The server is ending: try another.", "ending", 5)
            call.check_length()
            await self.app(call.scope, call.receive, call.send)
        except _TooLargeError:
            await call.refuse(call.too_large())
        except ApiError as error:
            await call.refuse(error)
        except Exception as error:
            log("failed", "error", error=error, request=call.id)
            message = "The server failed; the fault is its own. Its log says where."
            await call.refuse(ApiError(500, message, code="internal_error"))


class _Call:
    """One request on its way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most_bytes: int) -> None:
        self.id = f"req_{uuid4().hex}"
        self.scope = scope
        self.note: dict[str, Any] = {}
        scope["endoscope.note"] = self.note
        scope["endoscope.id"] = self.id
        self._receive = receive
        self._send = send
        self._most = most_bytes
        self._read = 0
        self._status: int | None = None
        self._began = time.monotonic()

    def check_length(self) -> None:
        length = Headers(scope=self.scope).get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._most:
            raise _TooLargeError

    def too_large(self) -> ApiError:
        message = f"The body is longer than {self._most:,} bytes: send less at once."
        return ApiError(413, message, code="too_large")

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            raise _TooLargeError
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.id
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        self.note |= {"code": error.code}
        if self._status is None:
            answer = JSONResponse(error.body, error.status, error.headers)
            await answer(self.scope, self._receive, self.send)

    def write_log(self) -> None:
        route = self.scope.get("route")
        path = getattr(route, "path", None)  # the pattern: what was asked for may be anything
        failed = self._status is None or self._status >= 500
        level = "warning" if failed else "debug" if path in _QUIET else "info"
        log(
            "request",
            level,
            request=self.id,
            method=self.scope["method"] if path else None,
            path=path,
            status=self._status,
            seconds=round(time.monotonic() - self._began, 4),
            **self.note,
        )
