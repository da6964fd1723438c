"""YAML that users write: specs, whose errors name the line."""

from typing import Any

import yaml

from endoscope.errors import InputError


class _TwiceError(Exception):
    """A key stands twice in one mapping; YAML's loader would take the last."""

    def __init__(self, key: object, line: int) -> None:
        super().__init__(key)
        self.key = key
        self.line = line


class _Once(yaml.SafeLoader):
    """Reads each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping (see `yaml.SafeLoader`)."""
        found = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in found:
                    raise _TwiceError(key.value, key.start_mark.line + 1)
                found.add(key.value)
        return super().construct_mapping(node, deep)


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
        content = yaml.load(source, _Once)
    except _TwiceError as error:
        raise InputError(f"{name}, line {error.line}: the key {error.key} stands twice.") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{name}{where} is not valid YAML.") from None
    if not isinstance(content, dict):
        raise InputError(f"{name} is not {what}: it has no keys.", hint)
    return content
