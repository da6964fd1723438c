"""The OpenAPI description of one server: what its clients can name stands in it."""

from typing import Any

from fastapi import FastAPI

from endoscope.server.errors import ErrorBody
from endoscope.server.sent import UNSUPPORTED
from endoscope.server.served import Served

ABOUT = """Generates text as OpenAI's API does; clients of that need no change. What is beyond it
goes in the request's `endoscope` object and comes back in one of the answer: interventions that
steer, probes that read, guards that the answer goes through. Declarative data only, never code."""

TAGS = [
    {"name": "generate", "description": "Chats and completions, streamed or whole."},
    {"name": "models", "description": "The model, and variants of it."},
    {"name": "guard", "description": "Personal data out of text that is at hand."},
    {"name": "operate", "description": "For those who run the server."},
]

_ERRORS = {
    400: "Something in the request cannot be used; `param` says what.",
    401: "The key is missing or wrong.",
    404: "There is no model, probe, direction, guard or variant of this name.",
    405: "Not with this method.",
    413: "The body is too long.",
    415: "The body does not say that it is JSON.",
    429: "Too many requests at once.",
    500: "A fault of the server.",
    503: "The server is ending, too busy, or its model does not run.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of errors, for a path."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        found[status] = {"model": ErrorBody, "description": _ERRORS[status]}
        if status in (429, 503):
            about = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            found[status]["headers"] = {"Retry-After": about}
    return found


def describe(app: FastAPI, served: Served) -> None:
    """Make the application describe itself with the names and limits of what it serves."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            _drop_validation(schema)
            _fill(schema["components"]["schemas"], served)
            _name(schema["paths"], served)
        return app.openapi_schema or {}

    app.openapi = described  # type: ignore[method-assign]


def _drop_validation(schema: dict[str, Any]) -> None:
    """Leave out what FastAPI says of its own errors: here they are all of OpenAI's shape."""
    for operations in schema["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)


def _name(paths: dict[str, Any], served: Served) -> None:
    """Put names that the server has into the examples."""
    for operations in paths.values():
        body = operations.get("post", {}).get("requestBody", {}).get("content", {})
        for example in body.get("application/json", {}).get("examples", {}).values():
            value = example["value"]
            if "model" in value:
                example["value"] = value | {"model": served.name}
            elif len(served.guards) > 1:
                example["value"] = value | {"policy": next(iter(served.guards))}


def _fill(schemas: dict[str, Any], served: Served) -> None:
    alone = {name for name, variant in served.variants.items() if variant.system is not None}
    models = {
        "ChatSent": served.models,
        "CompletionSent": [name for name in served.models if name not in alone],
    }
    for name, known in models.items():
        fields = schemas[name]["properties"]
        fields["model"]["enum"] = known
        for key, why in UNSUPPORTED.items():
            if key in fields:
                fields[key]["description"] = f"Not supported: {why}."
        for key in ("max_tokens", "max_completion_tokens"):
            for choice in fields.get(key, {}).get("anyOf", ()):
                if choice["type"] == "integer":
                    choice["maximum"] = served.limits.tokens
    policies = [name for name, guard in served.guards.items() if guard.offline is not None]
    for name in ("GuardText", "GuardTexts"):
        if len(policies) > 1:  # which one must be said
            schemas[name]["properties"]["policy"] = {"type": "string", "enum": policies}
            schemas[name]["required"].append("policy")
        elif policies:
            schemas[name]["properties"]["policy"]["anyOf"][0]["enum"] = policies
    for prompt in schemas["CompletionSent"]["properties"]["prompt"]["oneOf"]:
        inner = prompt.get("items", {})
        for ids in (inner, inner.get("items", {})):
            if ids.get("type") == "integer":
                ids["maximum"] = len(served.tokenizer.hf) - 1
    ours = schemas["EndoscopeOptions"]["properties"]
    if served.variants:
        ours["variant"]["anyOf"][0]["enum"] = list(served.variants)
    for key, names in (("probes", served.probes), ("guards", served.guards)):
        if names:
            ours[key]["items"]["enum"] = list(names)
        else:
            ours[key]["maxItems"] = 0
