"""Which model an artifact belongs to."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from torch import Tensor

from endoscope.artifacts.hashing import hash_bytes, hash_config, hash_weights
from endoscope.errors import InputError

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Relation = Literal["same", "derived", "foreign"]


class TransferWarning(UserWarning):
    """An artifact is used on a model derived from its own: its evidence is not valid there."""


class Fingerprint(BaseModel):
    """The identity of a model: what it computes, apart from its name and how it is run.

    Attributes:
        config: SHA-256 of the canonical configuration.
        weights: SHA-256 of the tensors as stored, so it does not depend on the dtype in which the
            model was loaded.
        dtype: in which the model was loaded. Takes no part in comparisons.
        tokenizer: SHA-256 of the tokenizer. Takes no part in comparisons.
        base: `digest` of the model that this one was made from, if it says so.
        how: in what way it was made from its base, for people to read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: Sha256
    weights: Sha256
    dtype: str | None = None
    tokenizer: Sha256 | None = None
    base: Sha256 | None = None
    how: str | None = None

    @property
    def digest(self) -> str:
        """One hash for configuration and weights: what models are compared by."""
        return hash_bytes(f"{self.config}\n{self.weights}\n".encode())

    @property
    def short(self) -> str:
        """The first twelve digits of `digest`, for people to read."""
        return self.digest[:12]

    def relation(self, other: "Fingerprint") -> Relation:
        """Say how two models are related.

        Returns:
            `same` if configuration and weights are equal, `derived` if one declares the other as
            its base, else `foreign`.
        """
        if self.digest == other.digest:
            return "same"
        if self.base == other.digest or other.base == self.digest:
            return "derived"
        return "foreign"

    def derive(
        self,
        how: str,
        weights: Mapping[str, Tensor] | Iterable[str | Path],
        settings: Mapping[str, Any] | None = None,
    ) -> "Fingerprint":
        """Return the fingerprint of this model with something put on it, such as an adapter.

        Args:
            how: what was done, such as `adapter my-adapter`.
            weights: what was put on, as safetensors files or tensors by name.
            settings: what else decides what it does, such as how strongly an adapter acts.
        """
        parts = (self.weights, hash_weights(weights), hash_config(settings or {}))
        both = hash_bytes("\n".join(parts).encode())
        return self.model_copy(update={"weights": both, "base": self.digest, "how": how})

    def __str__(self) -> str:
        return f"{self.short} ({self.how})" if self.how else self.short

    def __repr__(self) -> str:
        return f"Fingerprint({self})"


def fingerprint_of(
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor] | Iterable[str | Path],
    *,
    tokenizer: bytes | None = None,
    dtype: str | None = None,
) -> Fingerprint:
    """Make the fingerprint of a model.

    The tensors on disk say best what a model is: they are the same whatever it is loaded as. Give a
    state dict only for a model that has no files.

    Args:
        config: the configuration; entries about names, versions and dtypes are ignored.
        weights: the model's safetensors files, or its state dict.
        tokenizer: the tokenizer in serialised form.
        dtype: in which the model was loaded, such as `bfloat16`.

    Raises:
        InputError: a file is missing, or is not a whole safetensors file.
    """
    return Fingerprint(
        config=hash_config(config),
        weights=hash_weights(weights),
        dtype=dtype,
        tokenizer=None if tokenizer is None else hash_bytes(tokenizer),
    )


def fingerprint_of_file(
    sha256: str, *, tokenizer: bytes | None = None, dtype: str | None = None
) -> Fingerprint:
    """Make the fingerprint of a model that is one file, configuration and weights, such as GGUF.

    Args:
        sha256: of the file.
        tokenizer: the tokenizer in serialised form.
        dtype: in which the model was loaded, such as `bfloat16`.
    """
    return Fingerprint(
        config=sha256,
        weights=sha256,
        dtype=dtype,
        tokenizer=None if tokenizer is None else hash_bytes(tokenizer),
    )


def check_same(made_with: Fingerprint, model: Fingerprint, what: str) -> None:
    """Refuse every model but one: for what changes it, or says what was changed.

    Args:
        made_with: fingerprint on the artifact.
        model: fingerprint of the model that it is to be used with.
        what: what the artifact is, for the message, such as `The report`.

    Raises:
        InputError: it is another model, or one that is derived from it.
    """
    if made_with.relation(model) != "same":
        raise _another(made_with, model, what)


def check_model(made_with: Fingerprint, model: Fingerprint, what: str) -> Relation:
    """Refuse a foreign model, and warn where the model is a derived one.

    Args:
        made_with: fingerprint on the artifact.
        model: fingerprint of the model that it is to be used with.
        what: what the artifact is, for the message, such as `The probe pii-ja`.

    Returns:
        `same` or `derived`.

    Raises:
        InputError: the model is foreign to the artifact.
    """
    relation = made_with.relation(model)
    if relation == "foreign":
        raise _another(made_with, model, what)
    if relation == "derived":
        warnings.warn(
            f"{what} was made with {made_with} and is transferred to {model}: "
            "its evidence is not valid here.",
            TransferWarning,
            stacklevel=3,
        )
    return relation


def _another(made_with: Fingerprint, model: Fingerprint, what: str) -> InputError:
    return InputError(
        f"{what} was made with another model ({made_with}) than this one ({model}).",
        "Open the model that it was made with, or make it again with this one.",
    )
