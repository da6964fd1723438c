"""The manifest of a store: what has been committed to it."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    ValidationError,
)

from endoscope.artifacts import Fingerprint, atomic_file
from endoscope.errors import InputError
from endoscope.validation import explain

MANIFEST_FILE = "manifest.json"
STORE_FORMAT = 1
DTYPE = torch.bfloat16  # the residual stream of some models exceeds what float16 can hold
_AGAIN = "Copy the store again, or capture again."


class Shard(BaseModel):
    """A committed shard: its file, and how much must be in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, StringConstraints(pattern=r"^shard-\d+\.safetensors$")]
    rows: NonNegativeInt
    documents: NonNegativeInt
    bytes: NonNegativeInt


class Part(BaseModel):
    """Which share of its data a store holds: text number - 1, and from there every `of`-th.

    Attributes:
        number: which one, from 1.
        of: how many there are.
        data_sha256: of all the data, ids and texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: PositiveInt
    of: PositiveInt
    data_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class Manifest(BaseModel):
    """What a store holds. Replacing this file is what commits a shard.

    Attributes:
        sites: in text form.
        readings: how often each text was read; the rows are of the last reading.
        part: the share of its data that was asked for; None: all of it.
        shards: in the order in which they were written. Which documents a shard holds stands in
            its own header, so that a commit costs the same however large the store has become.
        complete: all that was asked for is there.
        order: the documents' positions on disk in the order in which they were asked for; known
            once the store is complete.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["activations"] = "activations"
    format: Literal[1] = 1  # STORE_FORMAT
    fingerprint: Fingerprint
    sites: tuple[str, ...]
    d_model: PositiveInt
    readings: PositiveInt
    dtype: Literal["bfloat16"] = "bfloat16"
    part: Part | None = None
    shards: tuple[Shard, ...] = ()
    complete: bool = False
    order: tuple[NonNegativeInt, ...] | None = None

    def write(self, folder: Path) -> None:
        """Replace the manifest in a folder, whole or not at all."""
        with atomic_file(folder / MANIFEST_FILE) as temporary:
            temporary.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder.

        Raises:
            InputError: there is none, it is broken, or it is of another format.
        """
        path = folder / MANIFEST_FILE
        if not folder.exists():
            raise InputError(f"There is no activation store at {folder}.")
        if not path.is_file():
            raise InputError(
                f"{folder} is no activation store: it has no {MANIFEST_FILE}.",
                "Give the folder that capture wrote.",
            )
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is not whole JSON.", _AGAIN) from error
        _check_format(path, content)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputError(f"{path} is not a valid manifest: {explain(error)}", _AGAIN) from error


def _check_format(path: Path, content: Any) -> None:
    if not isinstance(content, dict) or content.get("kind") != "activations":
        raise InputError(f"{path} is not the manifest of an activation store.", _AGAIN)
    found = content.get("format")
    if isinstance(found, int) and found != STORE_FORMAT:
        newer = found > STORE_FORMAT
        raise InputError(
            f"{path} was made by {'a newer' if newer else 'an older'} Endoscope (format {found}; "
            f"this one reads {STORE_FORMAT}).",
            "Update Endoscope." if newer else "Capture again.",
        )
