"""Interventions from JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from endoscope.errors import InputError
from endoscope.interventions.operations import OPERATIONS, Intervention


def parse_interventions(records: Sequence[Mapping[str, Any]]) -> tuple[Intervention, ...]:
    """Read interventions from what JSON gave: a list of objects, told apart by `"kind"`.

    Raises:
        InputError: one of them does not fit; says which and what in one line, without its numbers.

    Example:
        >>> parse_interventions([{"kind": "add", "site": "resid_post.12", "vector": [...],
        ...                       "strength": 4.0}])
    """
    if not isinstance(records, list | tuple):
        raise InputError("Interventions are a list of objects.", 'Give [{"kind": ...}, ...].')
    return tuple(_parse(number, record) for number, record in enumerate(records, start=1))


def _parse(number: int, record: Any) -> Intervention:
    if isinstance(record, Intervention):
        return record
    kind = record.get("kind") if isinstance(record, Mapping) else None
    if not isinstance(kind, str) or kind not in OPERATIONS:
        raise InputError(
            f"Intervention {number} is of no known kind.",
            f'Give "kind": one of {", ".join(OPERATIONS)}.',
        )
    try:
        return OPERATIONS[kind](**record)
    except InputError as error:
        raise InputError(f"Intervention {number} ({kind}): {error.message}", error.hint) from None
