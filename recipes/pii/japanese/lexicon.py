"""Words to compose Japanese text from, read out of the IPADIC dictionary that janome carries.

IPADIC gives every entry a part of speech and a cost (the lower, the more frequent). Sampling by
cost makes common names common; sampling evenly reaches the tens of thousands of rare ones.
"""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path

from janome import sysdic

_COST_SCALE = 1200  # a word this much costlier is drawn e times less often


@cache
def _lists() -> dict[str, list[str]]:
    lines = (Path(__file__).parent / "lists.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" = ", 1) for line in lines if not line.startswith("#"))
    return {name: listed.split() for name, listed in pairs}


def word_list(name: str) -> list[str]:
    """A list of `lists.txt`."""
    return _lists()[name]


class Words:
    """A list of words, drawn by how common they are or evenly."""

    def __init__(self, words: Sequence[tuple[str, int]], even: float = 0.4) -> None:
        self._words = [word for word, _ in words]
        self._even = even
        self._cumulative = list(accumulate(math.exp(-cost / _COST_SCALE) for _, cost in words))

    def draw(self, rng: random.Random) -> str:
        if rng.random() < self._even:
            return rng.choice(self._words)
        return rng.choices(self._words, cum_weights=self._cumulative)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)


@cache
def _entries() -> dict[str, list[tuple[str, int]]]:
    """Part of speech -> [(word, cost)], in the dictionary's order."""
    table = defaultdict(list)
    data = sysdic.entries()
    values = data.values() if hasattr(data, "values") else data
    for surface, _, _, cost, pos, *_ in values:
        table[pos].append((surface.strip(), cost))
    return table


@cache
def _readings() -> dict[tuple[str, str], str]:
    """(part of speech, word) -> its most frequent reading, for names of persons."""
    data = sysdic.entries()
    values = data.values() if hasattr(data, "values") else data
    names = sorted((e for e in values if "人名" in e[4]), key=lambda entry: -entry[3])
    return {(entry[4], entry[0].strip()): entry[8] for entry in names}


def reading(pos: str, word: str) -> str:
    """How an entry is read, in hiragana; empty if the dictionary lacks it."""
    katakana = _readings().get((pos, word), "")
    return "".join(chr(ord(c) - 0x60) if "ァ" <= c <= "ヶ" else c for c in katakana)


@cache
def words(pos: str, pattern: str = r".+", even: float = 0.4) -> Words:
    """The entries of a part of speech whose whole text matches a pattern."""
    match = re.compile(pattern).fullmatch
    return Words([entry for entry in _entries()[pos] if match(entry[0])], even)


class Chain:
    """Makes up words that look like those of a list (a letter chain of order two)."""

    def __init__(self, examples: Iterable[str]) -> None:
        self._next: dict[str, list[str]] = defaultdict(list)
        for word in examples:
            padded = "^^" + word + "$"
            for i in range(len(word) + 1):
                self._next[padded[i : i + 2]].append(padded[i + 2])

    def draw(self, rng: random.Random, shortest: int = 3, longest: int = 9) -> str:
        while True:
            word = "^^"
            while word[-1] != "$" and len(word) < longest + 4:
                word += rng.choice(self._next[word[-2:]])
            made = word[2:-1]
            if word[-1] == "$" and shortest <= len(made) <= longest:
                return made
