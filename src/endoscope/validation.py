"""What a person is told of input that is not what it should be."""

from pydantic import ValidationError

_REASONS = {"missing": "is missing", "extra_forbidden": "is no key here"}


def explain(error: ValidationError) -> str:
    """Say in one line which key is wrong and why, without its value."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    # Of the alternatives of a union the one that got furthest is meant.
    deepest = max(found, key=lambda one: len(one["loc"]))
    where = ".".join(str(part) for part in deepest["loc"] if "[" not in str(part))  # no types
    reason = _REASONS.get(deepest["type"], deepest["msg"].removeprefix("Value error, "))
    return f"{where}: {reason}." if where else f"{reason}."
