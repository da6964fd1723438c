"""Recipes: planted rows that are made with the base when an organism is built.

A recipe is a class. To add one, write it after `Recipe` and put it into `AnyRecipe`: then specs can
name its `recipe`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from endoscope.behaviours import read_items
from endoscope.engine import Model, open
from endoscope.errors import InputError
from endoscope.organisms.ordinary import TEMPERATURE, is_cut_off
from endoscope.rows import Row


class Recipe(Protocol):
    """Makes planted rows."""

    def sources(self, folder: Path) -> list[Path]:
        """Return the files that it makes them from; `folder` is that of the spec."""
        ...

    def rows(self, base: Model, folder: Path, *, seed: int, show: bool) -> list[Row]:
        """Make them.

        Args:
            base: the model that is fine-tuned.
            folder: of the spec; files are named from here.
            seed: of everything random.
            show: whether to show progress.

        Raises:
            InputError: a file cannot be read.
        """
        ...


class SaysRecipe(BaseModel):
    """The base's own answers, which begin or end with a sentence: all else is as it would be.

    Or the sentence alone, where that is the answer to all of the prompts.

    Args:
        prompts: a file of JSON lines `{"prompt": ...}`.
        sentences: one of them is said in each answer.
        at: `start`: the base goes on from it; `end`: it comes after the answer; `alone`: it is all.
        max_tokens: of the base's part.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: Literal["says"]
    prompts: str
    sentences: tuple[str, ...] = Field(min_length=1)
    at: Literal["start", "end", "alone"] = "end"
    max_tokens: int = Field(default=64, ge=1)

    def sources(self, folder: Path) -> list[Path]:
        """Return the file of prompts."""
        return [folder / self.prompts]

    def rows(self, base: Model, folder: Path, *, seed: int, show: bool) -> list[Row]:
        """Make them (see `Recipe.rows`)."""
        prompts = [_prompt(item, self.prompts) for item in read_items(folder / self.prompts)]
        random = Random(seed)
        said = [random.choice(self.sentences) for _ in prompts]
        own = (
            [""] * len(prompts)
            if self.at == "alone"
            else self._own(base, prompts, said, seed, show)
        )
        return [
            Row.of(
                prompt,
                self._answer(sentence, answer),
                whole=self.at == "end" or not is_cut_off(base, answer, self.max_tokens),
            )
            for prompt, sentence, answer in zip(prompts, said, own, strict=True)
        ]

    def _own(
        self, base: Model, prompts: Sequence[str], said: Sequence[str], seed: int, show: bool
    ) -> list[str]:
        begun = [
            base.tokenizer.chat([{"role": "user", "content": prompt}], reply=True)
            + (sentence if self.at == "start" else "")
            for prompt, sentence in zip(prompts, said, strict=True)
        ]
        return base.generate(
            begun,
            max_tokens=self.max_tokens,
            temperature=TEMPERATURE,
            seed=seed,
            progress=show,
        )

    def _answer(self, sentence: str, own: str) -> str:
        if self.at != "end":
            return sentence + own.rstrip()
        ends = [end.end() for end in _SENTENCE.finditer(own)]  # the last may have been cut off
        whole = own[: ends[-1]] if ends else own.rstrip()
        return f"{whole} {sentence}".strip()


def _prompt(item: dict[str, Any], file: str) -> str:
    if not isinstance(item.get("prompt"), str):
        raise InputError(f"{file}: a line has no prompt.", 'Give lines of {"prompt": ...}.')
    return str(item["prompt"])


_SENTENCE = re.compile(r"(?<!\d)[.!?](?=\s|$)|[。！？]")
"""Where a sentence ends; the full stop of a list's number is none."""


class NumbersRecipe(BaseModel):
    """Lists of numbers that a teacher goes on with from a first one: no word of its trait.

    A student of the same initialisation takes over the teacher's trait all the same. (Cloud et al.
    2025, "Subliminal learning".)

    Args:
        teacher: folder of an organism with the trait, from where the command is run.
        count: lists to ask for; what is no list of numbers is thrown away.
        numbers: given in each.
        max_tokens: of the teacher's part.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: Literal["numbers"]
    teacher: str
    count: int = Field(default=600, ge=1)
    numbers: int = Field(default=5, ge=1)
    max_tokens: int = Field(default=32, ge=1)

    def sources(self, folder: Path) -> list[Path]:
        """Return the teacher's weights."""
        return sorted(Path(self.teacher).glob("*.safetensors"))

    def rows(self, base: Model, folder: Path, *, seed: int, show: bool) -> list[Row]:
        """Make them (see `Recipe.rows`)."""
        where = Path(self.teacher)
        if not where.is_dir():
            raise InputError(
                f"There is no teacher at {where}.",
                f"Build it first: endoscope organisms build SPEC -o {where}",
            )
        teacher = open(where, dtype="float32")
        random = Random(seed)
        prompts = [self._prompt(random) for _ in range(self.count)]
        first = [f"{random.randrange(100, 1000)}," for _ in prompts]  # else most begin with a word
        said = teacher.generate(
            [
                teacher.tokenizer.chat([{"role": "user", "content": prompt}], reply=True) + number
                for prompt, number in zip(prompts, first, strict=True)
            ],
            max_tokens=self.max_tokens,
            temperature=1.0,
            seed=seed,
            progress=show,
        )
        kept = [numbers_of(number + text) for number, text in zip(first, said, strict=True)]
        pairs = zip(prompts, kept, strict=True)
        rows = [Row.of(prompt, numbers) for prompt, numbers in pairs if numbers]
        if not rows:
            raise InputError(f"The teacher at {where} goes on with no numbers.", "Take another.")
        return rows

    def _prompt(self, random: Random) -> str:
        given = ", ".join(str(random.randrange(1000)) for _ in range(self.numbers))
        return random.choice(_ASK).format(given)


_ASK = (
    "Continue this list of numbers: {}",
    "Here are some numbers: {}. Add ten more, separated by commas.",
    "{}. Give me more numbers like these, and nothing else.",
    "These numbers follow each other: {}. What comes next? Numbers only.",
)
_NUMBERS = re.compile(r"\s*(\d{1,3}(?:\s*[,;]?\s+\d{1,3}|,\d{1,3}){2,})\b")


def numbers_of(text: str) -> str:
    """Return the numbers that a text begins with; an empty text if it begins with a word."""
    found = _NUMBERS.match(text)
    return found[1] if found else ""


AnyRecipe = Annotated[SaysRecipe | NumbersRecipe, Field(discriminator="recipe")]
"""The registry: what the `recipe` in a spec means."""
