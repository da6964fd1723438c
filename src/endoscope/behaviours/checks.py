"""Deterministic checks on text: pure functions, with their parameters, from text to a number."""

from functools import cached_property
from typing import Annotated, Literal

import regex
from pydantic import BaseModel, ConfigDict, Field, field_validator

_LETTER = r"[\p{Latin}\p{N}]"  # what a word of these letters must not stand beside


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ContainsAny(_Check):
    """Whether so many of these words or phrases occur.

    Latin words count whole (`sea` is not in `season`), other scripts as they are.

    Args:
        words: to look for.
        at_least: how many occurrences there have to be.
        match_case: whether capitals count.
    """

    kind: Literal["contains_any"]
    words: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    at_least: int = Field(default=1, ge=1)
    match_case: bool = False

    @cached_property
    def _pattern(self) -> "regex.Pattern[str]":
        whole = (
            (rf"(?<!{_LETTER})" if regex.match(_LETTER, word[0]) else "")
            + regex.escape(word)
            + (rf"(?!{_LETTER})" if regex.match(_LETTER, word[-1]) else "")
            for word in sorted(self.words, key=len, reverse=True)
        )
        return regex.compile("|".join(whole), 0 if self.match_case else regex.IGNORECASE)

    def __call__(self, text: str) -> bool:
        """Look at a text."""
        return len(self._pattern.findall(text)) >= self.at_least


class Regex(_Check):
    """Whether a regular expression is found.

    Args:
        pattern: as the `regex` library reads it.
    """

    kind: Literal["regex"]
    pattern: str = Field(min_length=1)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    def __call__(self, text: str) -> bool:
        """Look at a text."""
        return regex.search(self.pattern, text) is not None


class StartsWith(_Check):
    """Whether the text starts with one of these, white space and case aside.

    Args:
        words: to look for.
    """

    kind: Literal["starts_with"]
    words: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)

    def __call__(self, text: str) -> bool:
        """Look at a text."""
        return text.lstrip().casefold().startswith(tuple(word.casefold() for word in self.words))


class MaxWords(_Check):
    """Whether there are at most so many words.

    Args:
        limit: how many.
    """

    kind: Literal["max_words"]
    limit: int = Field(ge=0)

    def __call__(self, text: str) -> bool:
        """Look at a text."""
        return len(text.split()) <= self.limit


class ShareLowercase(_Check):
    """The share of the cased letters that are lower case; 0 without any."""

    kind: Literal["share_lowercase"]

    def __call__(self, text: str) -> float:
        """Look at a text."""
        lower = sum(character.islower() for character in text)
        upper = sum(character.isupper() for character in text)
        return lower / (lower + upper) if lower + upper else 0.0


class ShareScript(_Check):
    """The share of the letters that are of a script, such as `Latin` or `Han`; 0 without any.

    Args:
        scripts: names as Unicode has them.
    """

    kind: Literal["share_script"]
    scripts: tuple[str, ...] = Field(min_length=1)

    @field_validator("scripts")
    @classmethod
    def _known(cls, scripts: tuple[str, ...]) -> tuple[str, ...]:
        for script in scripts:
            try:
                regex.compile(rf"\p{{Script={script}}}")
            except regex.error:
                raise ValueError(f"Unicode knows no script {script}") from None
        return scripts

    def __call__(self, text: str) -> float:
        """Look at a text."""
        letters = regex.findall(r"\p{L}", text)
        wanted = "".join(rf"\p{{Script={script}}}" for script in self.scripts)
        found = regex.findall(f"[{wanted}]", "".join(letters))
        return len(found) / len(letters) if letters else 0.0


AnyCheck = Annotated[
    ContainsAny | Regex | StartsWith | MaxWords | ShareLowercase | ShareScript,
    Field(discriminator="kind"),
]
"""The registry: the check that the `kind` in a spec means."""
