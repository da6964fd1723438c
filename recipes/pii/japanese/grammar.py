"""A grammar whose productions are text with slots, and how a document is derived from it.

Rules stand in `rules/*.txt`: `symbol =`, then alternatives, one a line or parted by ` | `; an
alternative may begin with a weight, `3* `; a line break in the text is written backslash n. A slot
names another symbol, a word drawn by `things` or `values`, or a person: `{P}` is somebody new each
time and `{J}` somebody new and Japanese; `{A}` to `{D}` stay the same within a document. A person's
slot chooses the form of mention itself (full name, short name; for `{A}` to `{D}` mostly the short
one after the first time); `{A.full}`, `{A.short}`, `{A.given}` ask for one. `{A.kana}` and
`{A.latin}` are readings, of `{P}` and `{J}` those of the person just named. All are marked as NAME.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from recipes.pii.document import Marked, Value, fill, mark
from recipes.pii.japanese import people
from recipes.pii.japanese.things import THINGS
from recipes.pii.japanese.values import VALUES

_RULES = Path(__file__).parent / "rules"
_PERSON = re.compile(r"([A-DPJ])(?:\.(full|short|given|kana|latin))?")
TERMINALS = THINGS | VALUES
_DEEPEST = 24


class _Rule(NamedTuple):
    alternatives: list[str]
    cumulative: list[float]


@cache
def rules() -> dict[str, _Rule]:
    """All rules, by symbol. A symbol that several files extend has all their alternatives."""
    found: dict[str, list[str]] = {}
    symbol = ""
    for path in sorted(_RULES.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            if head := re.match(r"(\w+) =(?: |$)", line):
                symbol = head[1]
                line = line[head.end() :]
            alternatives = line.strip().replace("\\n", "\n").split(" | ")
            found.setdefault(symbol, []).extend(a for a in alternatives if a)
    return {symbol: _weigh(alternatives) for symbol, alternatives in found.items()}


def _weigh(alternatives: list[str]) -> _Rule:
    weights, texts = [], []
    for alternative in alternatives:
        weighted = re.match(r"([\d.]+)\* ?", alternative)
        weights.append(float(weighted[1]) if weighted else 1.0)
        texts.append(alternative[weighted.end() :] if weighted else alternative)
    return _Rule(texts, list(accumulate(weights)))


class Derivation(Mapping[str, Value]):
    """The slots of one document: each look-up draws what fills the slot."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._people: dict[str, people.Person] = {}
        self._depth = 0

    def derive(self, symbol: str) -> Marked:
        """Expands a symbol to text."""
        rule = rules()[symbol]
        template = self._rng.choices(rule.alternatives, cum_weights=rule.cumulative)[0]
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RecursionError(f"the rule {symbol!r} does not end")
        filled = fill(template, self)
        self._depth -= 1
        return filled

    def __getitem__(self, slot: str) -> Value:
        if person := _PERSON.fullmatch(slot):
            return self._mention(person[1], person[2])
        if slot in TERMINALS:
            return TERMINALS[slot](self._rng)
        return self.derive(slot)

    def __iter__(self) -> Iterator[str]:
        return iter([*rules(), *TERMINALS])

    def __len__(self) -> int:
        return len(rules()) + len(TERMINALS)

    def _mention(self, who: str, form: str | None) -> Marked:
        known = who in self._people
        if not known or (who in "PJ" and form not in ("kana", "latin")):
            draw = people.draw_japanese if who == "J" else people.draw
            self._people[who] = draw(self._rng)
        if form is None:
            shares = (12, 85, 3) if known and who not in "PJ" else (56, 39, 5)
            form = self._rng.choices(("full", "short", "given"), shares)[0]
        return mark(getattr(self._people[who], form), "NAME")
