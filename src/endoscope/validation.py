"""What a person is told of input that is not what it should be."""

from pydantic import ValidationError

_REASONS = {
    "missing": "is missing",
    "extra_forbidden": "is no key here",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should have keys of its own",
    "model_type": "should have keys of its own",
}


def explain(error: ValidationError) -> str:
    """Say in one line which key is wrong and why, without its value."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    # Of the alternatives of a union the ones that got furthest are meant.
    deepest = max(len(one["loc"]) for one in found)
    reasons: dict[str, list[str]] = {}
    for one in found:
        if len(one["loc"]) == deepest:
            where = ".".join(str(part) for part in one["loc"] if "[" not in str(part))  # no types
            reason = _REASONS.get(one["type"], one["msg"].removeprefix("Value error, "))
            reasons.setdefault(where, []).append(reason.removeprefix("Input "))
    where, told = next(iter(reasons.items()))
    because = ", or ".join(dict.fromkeys(told))
    return f"{where}: {because}." if where else f"{because}."
