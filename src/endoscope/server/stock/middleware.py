"""Takes the `endoscope` object out of a request, and puts readings into its answer.

What vLLM's server is asked for is what the client sent, with our order beside it; what it answers
is passed on, with `endoscope` where readings came with a token.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import ValidationError

from endoscope.engine.requests import score
from endoscope.engine.vllm.reports import first_fault
from endoscope.engine.vllm.seams import frontend
from endoscope.engine.vllm.seams.settings import KEY
from endoscope.errors import InputError
from endoscope.server.errors import ApiError, explain
from endoscope.server.sent import Asked
from endoscope.server.served import named
from endoscope.server.steering import interventions

if TYPE_CHECKING:
    from endoscope.server.stock.plugin import Loaded, Plugin

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATHS = {"/v1/chat/completions": "chatcmpl-{}", "/v1/completions": "cmpl-{}-0"}
"""The paths that generate, and what vLLM calls a request to them by its `X-Request-Id`."""

MOST_BYTES = 4 << 20
"""Of a body that asks for something of ours; vLLM takes others of any length."""

_KNOWN = frozenset({KEY, "interventions", "probes"})


class Asking:
    """Stands before vLLM's server (pure ASGI, so that streams stay streams).

    Args:
        app: the server.
        plugin: has what requests can name, once the server is ready.
    """

    def __init__(self, app: Any, plugin: "Plugin") -> None:
        self._app = app
        self._plugin = plugin

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not _may_ask(scope, path):
            await self._app(scope, receive, send)
            return
        raw = await _body(receive)
        asked = _object(raw)
        if KEY not in asked and KEY not in _vllms_own(asked):
            await self._app(scope, _again(raw, receive), send)
            return
        try:
            if path not in PATHS:
                message = f"`endoscope` goes with {' and '.join(PATHS)}."
                raise ApiError(400, message, param=KEY, code="unsupported_parameter")
            if len(raw) > MOST_BYTES:
                raise ApiError(413, "With `endoscope`, a body has at most 4 MiB.", code="too_large")
            if self._plugin.loaded is None:
                raise ApiError(503, "The server is not ready yet.", code="not_ready")
            order = _order(asked, self._plugin.loaded)
        except ApiError as error:
            await _refuse(send, error)
            return
        base = uuid4().hex
        del asked[KEY]
        asked["vllm_xargs"] = {**_vllms_own(asked), KEY: order}
        body = json.dumps(asked).encode()
        name = PATHS[path].format(base)
        headers = [
            (key, value)
            for key, value in scope["headers"]
            if key not in (b"content-length", b"x-request-id")
        ]
        headers += [(b"content-length", b"%d" % len(body)), (b"x-request-id", base.encode())]
        frontend.expect(name)
        try:
            answering = Answering(name, send)
            inner = {**scope, "headers": headers}
            await self._app(inner, _again(body, receive), answering)
        except _FailedError as failed:  # which has ended the request as well
            await answering.fail(failed.error)
        finally:
            frontend.forget(name)


class _FailedError(Exception):
    """What workers could not do: no word more of the answer goes out."""

    def __init__(self, error: ApiError) -> None:
        self.error = error


class Answering:
    """Passes an answer on, with the readings of its request.

    Args:
        name: what vLLM calls the request.
        send: where to.
    """

    def __init__(self, name: str, send: Send) -> None:
        self._name = name
        self._send = send
        self._start: Message = {}
        self._streams = False
        self._held = b""

    async def __call__(self, message: Message) -> None:
        """Take what the server sends."""
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            self._streams = b"text/event-stream" in headers.get(b"content-type", b"")
            self._start = message
            if self._streams:
                await self._send(message)
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        more = message.get("more_body", False)
        self._held += message.get("body", b"")
        if not self._streams:
            if not more:
                await self._whole()
            return
        *events, self._held = self._held.split(b"\n\n")
        out = b"".join(self._event(event) + b"\n\n" for event in events)
        if not more:
            out, self._held = out + self._held, b""
        await self._send({"type": "http.response.body", "body": out, "more_body": more})

    async def fail(self, error: ApiError) -> None:
        """End the answer with an error."""
        if not self._streams:
            await _refuse(self._send, error)
            return
        body = b"data: " + json.dumps(error.body).encode() + b"\n\ndata: [DONE]\n\n"
        await self._send({"type": "http.response.body", "body": body})

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(b"data: {"):
            return event
        chunk = json.loads(event[len(b"data: ") :])
        self._add(chunk)
        return b"data: " + json.dumps(chunk, ensure_ascii=False).encode()

    async def _whole(self) -> None:
        body = self._held
        if self._start["status"] == 200:
            answer = json.loads(body)
            self._add(answer)
            body = json.dumps(answer, ensure_ascii=False).encode()
        headers = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _add(self, answer: dict[str, Any]) -> None:
        """Put what came into the answer, or into its chunk."""
        reports = frontend.take(self._name)
        if fault := first_fault(reports):
            raise _FailedError(ApiError(500, fault, code="readings"))
        choices = answer.get("choices") or []
        if not choices or not reports:
            return
        readings: dict[str, list[tuple[int, float]]] = {}
        ended = bool(choices[0].get("finish_reason"))
        for report in reports:
            last = ended and report is reports[-1]
            parts = (report.scores, report.rest if last else {})
            for name, scores in (pair for part in parts for pair in part.items()):
                mine = readings.setdefault(name, [])
                mine += [(at, round(score(values), 6)) for at, values in scores]
        if readings:
            choice = choices[0]
            where = next((choice[key] for key in ("delta", "message") if key in choice), choice)
            where[KEY] = {"readings": readings}


def _order(asked: Mapping[str, Any], loaded: "Loaded") -> str:
    """Return the order of what a request asks of us.

    Raises:
        ApiError: it cannot be had.
    """
    ours = _ours(asked.get(KEY))
    if KEY in _vllms_own(asked):
        message = "`vllm_xargs.endoscope` is ours: say it in `endoscope`."
        raise ApiError(400, message, param="vllm_xargs", code="invalid_value")
    if asked.get("n") not in (None, 1):
        raise ApiError(400, "With `endoscope`, `n` must be 1.", param="n", code="invalid_value")
    if asked.get("use_beam_search"):
        message = "With `endoscope` there is no beam search."
        raise ApiError(400, message, param="use_beam_search", code="invalid_value")
    prompt = asked.get("prompt")
    if isinstance(prompt, list) and (len(prompt) > 1 and not isinstance(prompt[0], int)):
        message = "With `endoscope`, `prompt` is one text."
        raise ApiError(400, message, param="prompt", code="invalid_value")
    changes = interventions(ours.interventions, loaded)
    readouts = {name: named(loaded.probes, name, "probe", f"{KEY}.probes") for name in ours.probes}
    try:
        return loaded.ordering.order(changes, readouts).text
    except InputError as error:
        raise ApiError(400, str(error), param=KEY, code="invalid_value") from None


def _ours(given: Any) -> Asked:
    """Read the `endoscope` object.

    Raises:
        ApiError: it is none.
    """
    for elsewhere in ("guards", "variant"):
        if isinstance(given, Mapping) and elsewhere in given:
            message = f"`{elsewhere}` is what `endoscope serve --engine vllm` takes."
            raise ApiError(400, message, param=f"{KEY}.{elsewhere}", code="unsupported_parameter")
    try:
        return Asked.model_validate({} if given is None else given)
    except ValidationError as error:
        problems = [{**one, "loc": (KEY, *one["loc"])} for one in error.errors()]
        raise explain(problems, _KNOWN, {}) from None


def _may_ask(scope: Message, path: str) -> bool:
    """Whether a body is one to look into: of the paths that generate, or of any that take JSON."""
    kind = dict(scope["headers"]).get(b"content-type", b"")
    return scope["method"] == "POST" and (path in PATHS or b"json" in kind)


async def _body(receive: Receive) -> bytes:
    """Return all of the body, as vLLM itself holds it next."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _object(raw: bytes) -> dict[str, Any]:
    if KEY.encode() not in raw:
        return {}
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _vllms_own(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return vLLM's own extra arguments of a request."""
    given = asked.get("vllm_xargs")
    return given if isinstance(given, Mapping) else {}


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, and then what else comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send: Send, error: ApiError) -> None:
    body = json.dumps(error.body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
