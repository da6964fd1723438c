"""Parts: shares of some data that are captured apart, by any number of processes, and joined."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from endoscope.activations.committed import CommittedActivations
from endoscope.activations.manifest import Part
from endoscope.errors import InputError

Item = TypeVar("Item")


def parse_part(text: str) -> tuple[int, int]:
    """Read the number of a part, from 1, and how many there are: `2/3` is the second of three.

    Raises:
        InputError: there is no such part.
    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"{text!r} is no part.", "Give its number and how many there are: 1/2.")
    return int(found[1]), int(found[2])


def part_of(text: str, ids: Sequence[str], texts: Sequence[Any]) -> Part:
    """Return a part of some data.

    Args:
        text: such as `2/3`.
        ids: of all the data.
        texts: theirs, texts or conversations.

    Raises:
        InputError: there is no such part.
    """
    number, of = parse_part(text)
    data = hashlib.sha256()
    for pair in zip(ids, texts, strict=True):
        data.update(json.dumps(pair).encode() + b"\n")
    return Part(number=number, of=of, data_sha256=data.hexdigest())


def share(part: Part, items: Sequence[Item]) -> list[Item]:
    """Return what belongs to a part: of three, the first has items 0, 3, 6 and so on.

    Every n-th, and not one stretch after another, because data are often sorted, by length or by
    source; and because data can grow at the end without moving anything to another part.
    """
    return list(items[part.number - 1 :: part.of])


def merged(shares: Sequence[Sequence[Item]]) -> list[Item]:
    """Undo `share`: return the items of all parts, given in order, in the order of the data."""
    longest = max(map(len, shares))
    return [items[i] for i in range(longest) for items in shares if i < len(items)]


def check_parts(stores: Sequence[CommittedActivations]) -> list[CommittedActivations]:
    """Return stores that together hold some data once, in the order of their numbers.

    Raises:
        InputError: one is not a part or not complete, two do not fit each other or are the same
            part, or one is missing; says which.
    """
    if not stores:
        raise InputError("There is nothing to join.", "Give the folders of all parts.")
    by_number: dict[int, CommittedActivations] = {}
    for store in stores:
        number = _part(store).number
        _check_fit(stores[0], store)
        if (other := by_number.get(number)) is not None:
            raise InputError(
                f"{other.path} and {store.path} are both part {store.part}.",
                "Give each part once.",
            )
        by_number[number] = store
    of = _part(stores[0]).of
    if missing := [f"{number}/{of}" for number in range(1, of + 1) if number not in by_number]:
        raise InputError(f"Missing: part {', '.join(missing)}.", "Give the folders of all parts.")
    return [by_number[number] for number in range(1, of + 1)]


def _part(store: CommittedActivations) -> Part:
    if store.part is None:
        raise InputError(
            f"{store.path} is not a part: it was captured as a whole.",
            "Capture parts with `--part 1/2`, `--part 2/2`.",
        )
    if not store.complete:
        raise InputError(
            f"{store.path} is not complete.",
            "Run its capture again: it goes on where it was.",
        )
    return store.part


def _check_fit(first: CommittedActivations, store: CommittedActivations) -> None:
    one, other = _part(first), _part(store)
    for what, differs in (
        ("with another model", first.fingerprint.relation(store.fingerprint) != "same"),
        ("at other sites", first.sites != store.sites),
        ("with another number of readings", first.readings != store.readings),
        ("as one of another number of parts", one.of != other.of),
        ("from other data", one.data_sha256 != other.data_sha256),
    ):
        if differs:
            raise InputError(
                f"{store.path} was captured {what} than {first.path}.",
                "Capture all parts with the same command but for `--part` and the folder.",
            )
