"""Policies: what to look for in a text and what to do with it."""

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from endoscope.errors import InputError
from endoscope.guard.explain import explain
from endoscope.interventions import Intervention, parse_interventions
from endoscope.yamls import yaml_mapping

Action = Literal["flag", "redact", "stop", "steer", "escalate"]
Replacement = Literal["tag", "pseudonym", "hash"]
Language = Literal["en", "ja"]

_SHIPPED = files("endoscope.guard") / "policies"
_SHORTEST_KEY = 16  # bytes: 128 bits, half the block that HMAC-SHA256 would use


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Rule(_Strict):
    """What to do with one label.

    Args:
        threshold: the least probability of a token, or `"probe"` for the probe's own threshold.
        action: `redact` replaces the value, `flag` only reports it. In a stream, `stop` ends the
            text where the value begins, `steer` replaces it and changes the model from there on,
            `escalate` holds it until a hook or a judge has confirmed it, which replaces it, or
            rejected it; text that is at hand is redacted by these three.
        replacement: as the policy's, for this label.
        interventions: of `steer`: a list of interventions in JSON form, or a file with one.
        hook: of `escalate`: the URL that is asked.
        judge: of `escalate`: the name of a judge that the program provides.
        timeout: seconds that the hook or judge has; after them the value is taken as confirmed.
    """

    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["probe"] = "probe"
    action: Action = "redact"
    replacement: Replacement | None = None
    interventions: list[dict[str, Any]] | str | None = None
    hook: Annotated[str, Field(pattern="^https?://")] | None = None
    judge: str | None = None
    timeout: Annotated[float, Field(gt=0, le=600)] = 10.0

    @model_validator(mode="after")
    def _what_the_action_needs(self) -> Self:
        if (self.action == "steer") != (self.interventions is not None):
            raise ValueError("action steer and interventions go together")
        if self.action == "escalate" and (self.hook is None) == (self.judge is None):
            raise ValueError("action escalate needs either hook or judge")
        if self.action != "escalate" and (self.hook or self.judge):
            raise ValueError("hook and judge go with action escalate")
        return self

    def steering(self, folder: Path) -> tuple[Intervention, ...]:
        """Return the interventions of `steer`.

        Args:
            folder: what a relative path of their file starts from.

        Raises:
            InputError: the file cannot be read, or they are no interventions.
        """
        given = self.interventions or []
        if isinstance(given, str):
            path = folder / given
            try:
                given = json.loads(path.read_bytes())
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror}.") from error
            except ValueError as error:
                raise InputError(f"{path} is not JSON.") from error
        return parse_interventions(given)


class KeySource(_Strict):
    """Where the key of keyed hashes comes from: an environment variable or a file."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either env or file")
        return self

    def read(self, folder: Path) -> bytes:
        """Return the key.

        Args:
            folder: what a relative path of the file starts from.

        Raises:
            InputError: there is no key, or it is too short.
        """
        if self.env is not None:
            where = f"the environment variable {self.env}"
            key = os.environb.get(os.fsencode(self.env), b"")
        else:
            path = folder / str(self.file)
            where = f"{path}"
            try:
                key = path.read_bytes().strip()
            except OSError as error:
                raise InputError(
                    f"The key file {path} cannot be read: {error.strerror}."
                ) from error
        if len(key) < _SHORTEST_KEY:
            raise InputError(
                f"The key for hashes in {where} is missing or shorter than {_SHORTEST_KEY} bytes.",
                "Make one with `openssl rand -hex 32`.",
            )
        return key


class Policy(_Strict):
    """What to look for, how sure to be, and what to do with it.

    Args:
        name: for people.
        labels: a rule for each label; others are left alone.
        scope: `spans` looks for values, `document` judges the whole text so far by a probe with a
            pooling: `flag`, `stop` and `steer` act once, when a threshold is reached.
        probe: which probe reads: `"auto"`, the name of one that comes with Endoscope, a folder, or
            one of these for each language.
        validators: whether rules find and complete what can be checked by form.
        replacement: what stands in place of a redacted value, where a label says nothing else.
        key: where the key for `hash` is.
        folder: what relative paths start from.

    Example:
        >>> Policy.load("pii").labels["NAME"].action
        'redact'
    """

    name: str
    labels: dict[str, Rule] = Field(min_length=1)
    scope: Literal["spans", "document"] = "spans"
    probe: str | dict[Language, str] = "auto"
    validators: bool = True
    replacement: Replacement = "tag"
    key: KeySource | None = None
    folder: Path = Field(default=Path(), exclude=True, repr=False)

    @model_validator(mode="after")
    def _key_for_hash(self) -> Self:
        if self.key is None and any(self.replaced(label) == "hash" for label in self.labels):
            raise ValueError(
                "replacement hash needs a key, such as key: {env: ENDOSCOPE_GUARD_KEY}"
            )
        return self

    @model_validator(mode="after")
    def _document_actions(self) -> Self:
        for label, rule in self.labels.items():
            if self.scope == "document" and rule.action not in ("flag", "stop", "steer"):
                raise ValueError(
                    f"labels.{label}: with scope document an action is flag, stop or steer"
                )
        return self

    def replaced(self, label: str) -> Replacement:
        """Return how values of a label are replaced."""
        return self.labels[label].replacement or self.replacement

    @property
    def redacted(self) -> frozenset[str]:
        """The labels whose values are replaced."""
        return frozenset(n for n, rule in self.labels.items() if rule.action != "flag")

    def probe_for(self, language: Language) -> str | None:
        """Return which probe reads texts of a language; None: the policy has none."""
        return self.probe if isinstance(self.probe, str) else self.probe.get(language)

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """Read a policy.

        Args:
            name: one that comes with Endoscope (`"pii"`), or the path of a YAML file.

        Raises:
            InputError: there is no such policy, or it is not valid; says which key and why.
        """
        if not isinstance(name, str | Path):
            raise InputError(
                f"A policy is a name, a path or a Policy, not {type(name).__name__}.", _EXAMPLE
            )
        source, folder = read_policy(name)
        content = yaml_mapping(source, name, "a policy", _EXAMPLE)
        if "folder" in content:
            raise InputError(f"{name}: folder is not a key of policies.", _EXAMPLE)
        try:
            return cls.model_validate({"name": Path(name).stem, **content, "folder": folder})
        except ValidationError as error:
            raise InputError(f"{name}: {explain(error)}", _EXAMPLE) from error


_EXAMPLE = "`endoscope guard --show-policy` prints a policy with comments."


def shipped_policies() -> dict[str, Path]:
    """Return the policies that come with Endoscope: name to file."""
    return {
        Path(entry.name).stem: Path(str(entry))
        for entry in _SHIPPED.iterdir()
        if entry.name.endswith(".yaml")
    }


def read_policy(name: str | Path) -> tuple[str, Path]:
    """Return the content of a policy, and the folder that its relative paths start from.

    Raises:
        InputError: there is no such policy.
    """
    path = shipped_policies().get(str(name), Path(name))
    try:
        return path.read_text(encoding="utf-8"), path.parent
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text.") from error
    except OSError as error:
        known = ", ".join(sorted(shipped_policies()))
        raise InputError(
            f"There is no policy {name}: {error.strerror}.",
            f"Give the path of a YAML file, or one of: {known}.",
        ) from error
