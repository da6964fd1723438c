"""What a person is told of input that is not what it should be."""

from pydantic import ValidationError


def explain(error: ValidationError) -> str:
    """Say in one line which key is wrong and why, without its value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}." if where else f"{reason}."
