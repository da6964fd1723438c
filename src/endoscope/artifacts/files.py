"""Artifacts on disk: a folder with a card and safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from endoscope.artifacts.atomic import atomic_folder
from endoscope.artifacts.card import CARD_FORMAT, Card
from endoscope.artifacts.fingerprint import Fingerprint
from endoscope.artifacts.kinds import CARD_FILE, kind_of
from endoscope.errors import InputError
from endoscope.sha256 import hash_file
from endoscope.validation import explain

MODELS = ("organism", "edit")  # kinds of artifact that are models, made from that on their card
TENSORS_FILE = "tensors.safetensors"
_PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib"})
_AGAIN = "Copy the artifact again, or make it again."


def save_artifact(folder: str | Path, card: Card, tensors: Mapping[str, Tensor]) -> Card:
    """Save an artifact, whole or not at all.

    An artifact of the same kind is replaced; anything else in the way is refused.

    Returns:
        The card as saved, with the hash of the tensors.

    Raises:
        InputError: the disk is full, or something else is there.
    """
    # safetensors refuses tensors that share memory or are not contiguous
    whole = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    size = sum(tensor.nbytes for tensor in whole.values())
    with atomic_folder(folder, kind=card.kind, size=size) as temporary:
        save_file(whole, temporary / TENSORS_FILE)
        card = card.model_copy(update={"tensors_sha256": hash_file(temporary / TENSORS_FILE)})
        write_card(temporary, card)
    return card


def write_card(folder: Path, card: Card) -> None:
    """Put a card into the folder of its artifact, while that is being written."""
    text = card.model_dump_json(indent=2) + "\n"
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def load_artifact(folder: str | Path, kind: str) -> tuple[Card, dict[str, Tensor]]:
    """Load an artifact of a kind: its card and its tensors, on the CPU.

    Raises:
        InputError: there is no such artifact, it is of another kind or format, or it is damaged;
            says what to do.
    """
    folder = Path(folder)
    card = read_card(folder, kind)
    path = folder / TENSORS_FILE
    if not path.is_file():
        raise InputError(f"{folder} has no {TENSORS_FILE}.", _AGAIN)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}).", _AGAIN) from error
    if hash_file(path) != card.tensors_sha256:
        raise InputError(f"{path} is not what its card was written for.", _AGAIN)
    return card, tensors


def read_card(folder: str | Path, kind: str | None = None) -> Card:
    """Read the card of an artifact.

    Args:
        folder: the artifact.
        kind: what it has to be; None: anything.

    Raises:
        InputError: as `load_artifact`.
    """
    folder = Path(folder)
    what = kind or "artifact"
    if not folder.exists():
        raise InputError(f"There is no {what} at {folder}.")
    _refuse_pickles(folder, what)
    path = folder / CARD_FILE
    if not path.is_file():
        raise InputError(f"{folder} is no {what}: it has no {CARD_FILE}.", "Give its folder.")
    content = _content(path)
    if kind is not None and content["kind"] != kind:
        raise InputError(f"{folder} is of kind {content['kind']!r}, not {kind!r}.")
    _check_format(folder, content)
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path} is not a valid card: {explain(error)}", _AGAIN) from error


def declared(fingerprint: Fingerprint, folder: str | Path) -> Fingerprint:
    """Return a model's fingerprint with what the card in its folder says that it was made from.

    An organism and an edited model are artifacts and models at once; others have no card.

    Args:
        fingerprint: of what is in the folder.
        folder: of the model or the adapter.
    """
    if kind_of(Path(folder)) not in MODELS:
        return fingerprint
    card = read_card(folder)
    if fingerprint.base == card.model.digest:
        return fingerprint
    how = f"{card.kind} {card.name}"
    return fingerprint.model_copy(update={"base": card.model.digest, "how": how})


def _refuse_pickles(folder: Path, what: str) -> None:
    inside = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    for path in inside:
        if path.suffix.lower() in _PICKLES:
            raise InputError(
                f"{path} is a pickle, which can run code: Endoscope never loads one.",
                f"Give a {what} that Endoscope saved: {CARD_FILE} and {TENSORS_FILE}.",
            )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not whole JSON.", _AGAIN) from error
    if not (
        isinstance(content, dict)
        and isinstance(content.get("kind"), str)
        and isinstance(content.get("format"), int)
    ):
        raise InputError(f"{path} is not a card.", _AGAIN)
    return content


def _check_format(folder: Path, content: dict[str, Any]) -> None:
    found = content["format"]
    if found > CARD_FORMAT:
        raise InputError(
            f"{folder} was made by a newer Endoscope (format {found}; this one reads "
            f"{CARD_FORMAT}).",
            "Update Endoscope.",
        )
    if found < CARD_FORMAT:
        raise InputError(
            f"{folder} was made by an older Endoscope (format {found}; this one reads "
            f"{CARD_FORMAT}).",
            f"Make it again: {content.get('command') or 'its card does not say how'}",
        )
