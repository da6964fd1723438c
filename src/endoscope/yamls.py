"""YAML that users write: specs, whose errors name the line."""

from typing import Any

import yaml

from endoscope.errors import InputError


def yaml_mapping(source: str, name: object, what: str, hint: str | None = None) -> dict[str, Any]:
    """Return the keys of a spec and what they say.

    Args:
        source: the text.
        name: of the file, for errors.
        what: it is to be, such as `a policy`.
        hint: how to write one.

    Raises:
        InputError: it is no YAML, or has no keys.
    """
    try:
        content = yaml.safe_load(source)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{name}{where} is not valid YAML.") from None
    if not isinstance(content, dict):
        raise InputError(f"{name} is not {what}: it has no keys.", hint)
    return content
