"""What is wrong in a policy, in the words of its YAML file."""

from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

_MUST_BE = {
    "name": "text",
    "labels": "a mapping with one label at least, such as {NAME: {action: redact}}",
    "probe": "auto, a probe's name or folder, or a mapping with one of these for en, ja or both",
    "validators": "true or false",
    "replacement": "tag, pseudonym or hash",
    "key": "a mapping with either env or file",
    "threshold": "a number from 0 to 1, or probe",
    "action": "redact, flag, stop, steer or escalate",
    "interventions": "a list of interventions, or the path of a JSON file with one",
    "hook": "a URL that begins with http:// or https://",
    "judge": "the name of a judge",
    "timeout": "a number of seconds above 0, up to 600",
    "scope": "spans or document",
    "env": "the name of an environment variable",
    "file": "the path of a file",
}
KEYS = {  # of a policy, of each of its labels, of its key
    "": ("name", "labels", "scope", "probe", "validators", "replacement", "key"),
    "labels": (
        *("threshold", "action", "replacement"),
        *("interventions", "hook", "judge", "timeout"),
    ),
    "key": ("env", "file"),
}
_CHOICES = {
    "probe": ("auto",),
    "replacement": ("tag", "pseudonym", "hash"),
    "threshold": ("probe",),
    "action": ("redact", "flag", "stop", "steer", "escalate"),
    "scope": ("spans", "document"),
}


def explain(error: ValidationError) -> str:
    """Say in one line which key of a policy is wrong, why, and what it must be."""
    # Of the alternatives of a union the one that got furthest is meant.
    problem: Any = max(error.errors(include_url=False), key=lambda p: len(p["loc"]))
    place = _place(problem["loc"])
    where, last = ".".join(place), place[-1] if place else ""
    match problem["type"]:
        case "extra_forbidden":
            known = KEYS[place[0] if len(place) > 1 else ""]
            instead = _nearest(last, known) or f"keys are {', '.join(known)}."
            return f"{where} is not a key: {instead}"
        case "missing":
            return f"{where} is missing: it must be {_MUST_BE[last]}."
        case "value_error":
            reason = problem["msg"].removeprefix("Value error, ")
            return f"{where}: {reason}." if where else f"{reason}."
        case "string_type" | "invalid_key" if problem["loc"][-1] in ("[key]", problem["input"]):
            return f"{where} is not text: write it in quotes."
        case "model_type" if len(place) > 1:
            return f"{where} must be a mapping, such as {{action: redact}}."
    key = last if last in _MUST_BE else place[0]
    near = _nearest(problem["input"], _CHOICES.get(key, ()))
    return f"{where} must be {_MUST_BE[key]}{f': {near}' if near else '.'}"


def _place(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that lead to a value, without pydantic's names for the alternatives of a union."""
    keys = loc[:1] if loc[:1] == ("probe",) else loc[:3]
    return tuple(str(key) for key in keys if key != "[key]")


def _nearest(word: object, known: tuple[str, ...]) -> str:
    near = get_close_matches(word, known, n=1) if isinstance(word, str) else []
    return f"did you mean {near[0]}?" if near else ""
