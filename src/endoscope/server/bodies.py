"""Bodies of requests: JSON as the standard has it, no deeper than anybody means it."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from endoscope.server.errors import ApiError

DEEPEST = 32
_MOST_DIGITS = 64
_LONG = 2**16


class JsonRequest(Request):
    """A request whose JSON has been read strictly."""

    parsed: Any = None

    async def json(self) -> Any:
        """Return the body."""
        return self.parsed


class JsonRoute(APIRoute):
    """A path whose body is read strictly, and must say that it is JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what handles a request."""
        handler = super().get_route_handler()
        takes_body = self.body_field is not None

        async def handle(request: Request) -> Response:
            strict = JsonRequest(request.scope, request.receive)
            if takes_body:
                check_type(request.headers.get("content-type", ""))
                strict.parsed = await parse(await strict.body())
            return await handler(strict)

        return handle


def check_type(content_type: str) -> None:
    """Refuse a body that is not called JSON.

    Raises:
        ApiError: 415.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = "The body must be JSON: send `Content-Type: application/json`."
        raise ApiError(415, message, code="unsupported_media_type")


async def parse(body: bytes) -> Any:
    """Return what a body says (see `read_json`); a long one does not hold up those who stream."""
    return await asyncio.to_thread(read_json, body) if len(body) > _LONG else read_json(body)


def read_json(body: bytes) -> Any:
    """Return what a body says.

    Raises:
        ApiError: it is no JSON, or too deep.
    """
    try:
        text = body.decode("utf-8")
        found = json.loads(text, parse_constant=_constant, parse_int=_whole, parse_float=_real)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # of the decoding and of the JSON; their messages may quote it
        message = "The body is not valid JSON: send one JSON object in UTF-8."
        raise ApiError(400, message, code="invalid_json") from None
    _check_depth(found)
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ApiError:
    return ApiError(400, f"The body is nested deeper than {DEEPEST} levels.", code="too_deep")


def _constant(_: str) -> NoReturn:
    message = "The body holds NaN or infinity, which are not JSON: send finite numbers."
    raise ApiError(400, message, code="invalid_json")


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        _constant(digits)
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        _constant(digits)
    return number
