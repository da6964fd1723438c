"""Interventions as clients send them: JSON alone, or with names of what the server has loaded."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from endoscope.directions import Direction
from endoscope.errors import InputError
from endoscope.interventions import Intervention, parse_interventions
from endoscope.readouts import Readout
from endoscope.server.errors import ApiError
from endoscope.server.served import named

PARAM = "endoscope.interventions"


class Names(Protocol):
    """What interventions can name, and what refuses those that do not fit the model."""

    @property
    def probes(self) -> Mapping[str, Readout]: ...  # noqa: D102
    @property
    def directions(self) -> Mapping[str, Direction]: ...  # noqa: D102
    @property
    def check(self) -> Callable[[Sequence[Intervention]], object]: ...  # noqa: D102


# Which fields a direction stands for.
_FIELDS = {
    "add": ("vector",),
    "clamp": ("vector",),
    "ablate": ("basis",),
    "scale": ("basis",),
    "rotate": ("plane",),
    "erase": ("left", "right", "mean"),
}
_PLAIN = re.compile(r"[a-z_]{1,24}|[a-z_]{1,24}\.\d{1,4}")


def interventions(
    records: Sequence[Mapping[str, Any]], served: Names, param: str = PARAM
) -> tuple[Intervention, ...]:
    """Return what a request changes, checked against the model.

    Raises:
        ApiError: a record is no intervention, names what is not loaded, or does not fit the model.
    """
    found: list[Intervention] = []
    for index, record in enumerate(records):
        where = f"{param}[{index}]"
        try:
            full = _resolved(record, served, where)
            found += parse_interventions([full])
            served.check(found[-1:])
        except InputError as error:
            message = _without(str(error), record)
            raise ApiError(400, message, param=where, code="invalid_intervention") from None
    return tuple(found)


def _resolved(record: Mapping[str, Any], served: Names, where: str) -> dict[str, Any]:
    """Put the numbers where a record has a name."""
    full = dict(record)
    if "direction" in full:
        name = _text(full.pop("direction"), f"{where}.direction")
        direction = named(served.directions, name, "direction", f"{where}.direction")
        fields = _FIELDS.get(str(full.get("kind")), ())
        if not fields or any(field in full for field in fields):
            kinds = ", ".join(_FIELDS)
            raise InputError(f"A direction stands in place of the numbers of one of: {kinds}.")
        full |= {field: _numbers(direction, field) for field in fields}
        full.setdefault("site", str(direction.site))
    gate = full.get("gate")
    if isinstance(gate, Mapping) and "probe" in gate:
        name = _text(gate["probe"], f"{where}.gate.probe")
        readout = named(served.probes, name, "probe", f"{where}.gate.probe")
        rest = {key: value for key, value in gate.items() if key != "probe"}
        full["gate"] = _labelled(rest, readout)
    return full


def _numbers(direction: Any, field: str) -> list[Any]:
    """The numbers of a field of an intervention, from a direction."""
    if field in _FIELDS["erase"]:
        if direction.erasure is None:
            raise InputError("This direction erases nothing.", "Load one of the method leace.")
        return list(getattr(direction.erasure, field).tolist())
    basis: list[Any] = direction.basis.tolist()
    if field != "vector":
        return basis
    if len(basis) != 1:
        raise InputError("This direction is a subspace.", "Ablate or scale it.")
    return list(basis[0])


def _labelled(gate: dict[str, Any], readout: Readout) -> dict[str, Any]:
    """Fill in the label of a gate where its probe has but one."""
    if len(readout.labels) == 2:
        gate.setdefault("label", readout.labels[1])
    return {**gate, "readout": readout.record()}


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ApiError(400, f"`{where}` must be text.", param=where, code="invalid_value")
    return value


def _without(message: str, record: Mapping[str, Any]) -> str:
    """Take out of a message what a client wrote that is no plain word: it may be anything."""
    for text in sorted(_strings(record), key=len, reverse=True):
        if text and not _PLAIN.fullmatch(text):
            message = message.replace(repr(text)[1:-1], "…").replace(text, "…")
    return message


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list) and value and not isinstance(value[0], int | float):
        for inner in value:
            yield from _strings(inner)
