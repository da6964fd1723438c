"""Errors as OpenAI's clients expect them, without a word of what the client sent."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from endoscope.errors import InputError

_KINDS = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error"}
_KINDS |= {502: "server_error", 503: "server_error", 504: "server_error"}


class ErrorDetail(BaseModel):
    """What is wrong and how to mend it."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorDetail


class ApiError(Exception):
    """A request that gets no answer.

    Args:
        status: the HTTP status.
        message: what is wrong and how to mend it, in one line, without the client's text.
        param: which parameter of the request is meant, such as `endoscope.probes`.
        code: what went wrong, for machines.
        retry_after: seconds after which it is worth trying again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that OpenAI's clients read."""
        kind = _KINDS.get(self.status, "invalid_request_error")
        detail = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": detail}

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the status asks for."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def overloaded(status: int, message: str, code: str, retry_after: int = 1) -> ApiError:
    """Return the error of a server that could do it later."""
    return ApiError(status, message, code=code, retry_after=retry_after)


def fault() -> ApiError:
    """Return the error of a server that is itself to blame."""
    message = "The server failed; the fault is its own. Its log says where."
    return ApiError(500, message, code="internal_error")


def bad_input(error: InputError, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """Return what a room below refused, as a 400."""
    return ApiError(400, str(error), param=param, code=code)


def install(app: FastAPI, unsupported: Mapping[str, str] | None = None) -> None:
    """Make an application answer all errors in OpenAI's shape.

    What no one foresaw is a 500, and goes on to the outermost layer (`Edge`), which logs it.

    Args:
        app: the application.
        unsupported: parameters that are known but cannot be honoured, and why.
    """

    async def validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        problems = [p for p in error.errors() if p["loc"][:1] == ("body",)] or error.errors()
        return respond(request, explain(problems, _known(app), unsupported or {}))

    app.add_exception_handler(ApiError, _api)
    app.add_exception_handler(InputError, _input)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def respond(request: Request, error: ApiError) -> JSONResponse:
    """Return the answer, and note the error for the log line of the request."""
    note = request.scope.get("endoscope.note")
    if note is not None:
        note |= {"code": error.code, "param": error.param}
    return JSONResponse(error.body, error.status, error.headers)


async def _api(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return respond(request, error)


async def _input(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InputError)
    return respond(request, bad_input(error))


async def _fault(request: Request, error: Exception) -> JSONResponse:
    del error  # its message may quote the request
    return respond(request, fault())


async def _http(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework itself refuses: there is no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    messages = {
        404: ("There is nothing at this path. /docs lists what there is.", "not_found"),
        405: ("This path does not take this method. /docs lists what it takes.", "method"),
    }
    message, code = messages.get(error.status_code, ("The request cannot be read.", "bad_request"))
    answer = respond(request, ApiError(error.status_code, message, code=code))
    answer.headers.update(error.headers or {})
    return answer


def explain(
    problems: Iterable[Any], known: frozenset[str], unsupported: Mapping[str, str]
) -> ApiError:
    """Say in one line what is wrong with a body, without what it holds.

    Args:
        problems: as pydantic lists them.
        known: names of parameters. Others in a problem's place are the client's own text (or
            pydantic's names for the alternatives of a union) and are left out.
        unsupported: parameters that cannot be honoured, and why.
    """
    # Of the alternatives of a union the one that got furthest is meant.
    problem = max(problems, key=lambda p: len(p["loc"]))
    kind, context = problem["type"], problem.get("ctx", {})
    loc = problem["loc"][:-1] if kind == "extra_forbidden" else problem["loc"]
    place = [part for part in loc if isinstance(part, int) or part in known]
    param = _dotted(place) or None
    named = f"`{param}`" if param else "The body"
    for part in place:
        if part in unsupported:
            message = f"{named} is not supported: {unsupported[part]}. Leave it out."
            return ApiError(400, message, param=param, code="unsupported_parameter")
    if kind == "extra_forbidden":
        return _unknown(problem["loc"][-1], param, known)
    if kind == "value_error" and isinstance(context.get("error"), ValueError):
        return ApiError(400, f"{named}: {context['error']}", param=param, code="invalid_value")
    message = f"{named} {_says(kind, context)}."
    code = "missing" if kind == "missing" else "invalid_value"
    return ApiError(400, message, param=param, code=code)


def _unknown(name: object, param: str | None, known: frozenset[str]) -> ApiError:
    near = get_close_matches(str(name), known, n=1)
    instead = f"did you mean `{near[0]}`?" if near else "/docs lists those that there are."
    where = f" of `{param}`" if param else ""
    message = f"There is no parameter of this name{where}: {instead}"
    return ApiError(400, message, param=param, code="unknown_parameter")


_SAYS = {
    "missing": "is missing: give it",
    "json_invalid": "is not valid JSON: send one JSON object",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "none_required": "must be null",
    "string_unicode": "must be valid Unicode: it has a lone surrogate",
}
_LIMITS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "too_short": "must have {min_length} or more",
    "too_long": "must have {max_length} or fewer",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "literal_error": "must be {expected}",
}


def _says(kind: str, context: dict[str, Any]) -> str:
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context)
    return _SAYS.get(kind, "has a form that cannot be used; /docs shows what it must be")


def _dotted(place: list[Any]) -> str:
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return parts.removeprefix(".")


def _known(app: FastAPI) -> frozenset[str]:
    """Names of all parameters that the application's OpenAPI describes."""
    schemas = app.openapi().get("components", {}).get("schemas", {}).values()
    return frozenset(name for schema in schemas for name in schema.get("properties", ()))
