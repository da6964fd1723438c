"""Persons of many countries, and the many ways in which English text names them."""

from __future__ import annotations

import importlib
import random
from collections.abc import Collection
from functools import cache
from typing import NamedTuple

from recipes.pii.english.romanise import romanise
from recipes.pii.words import words

NAMES = words("english/grammar/names")


class Culture(NamedTuple):
    male: tuple[str, ...]
    female: tuple[str, ...]
    family: tuple[str, ...]
    family_female: tuple[str, ...]


@cache
def culture(key: str) -> Culture:
    """The names of one locale, in Latin letters (the keys without `_` are our own lists)."""
    if f"{key}_given" in NAMES:
        given, family = NAMES[f"{key}_given"], NAMES[f"{key}_family"]
        return Culture(given, given, family, family)
    provider = importlib.import_module(f"faker.providers.person.{key}").Provider

    def names(*attributes: str) -> tuple[str, ...]:
        for attribute in attributes:
            found = getattr(provider, attribute, None)
            if isinstance(found, Collection) and len(found) > 2:
                return tuple(dict.fromkeys(romanise(str(n)).strip() for n in found))
        return ()

    both = names("first_romanized_names", "first_names")
    male = names("first_romanized_names_male", "first_names_male") or both or NAMES["given_male"]
    female = (
        names("first_romanized_names_female", "first_names_female") or both or NAMES["given_female"]
    )
    family = names("last_romanized_names", "last_names", "last_names_male", "last_names_unisex")
    family = family or NAMES["family"]
    return Culture(male, female, family, names("last_names_female") or family)


def coined(rng: random.Random) -> str:
    """A name that nobody has: it can only be known by what stands around it."""
    shape = rng.choice(("ov", "ovc", "vov", "ovovc", "ovov", "ovcov", "ovce"))
    table = {"o": NAMES["onset"], "v": NAMES["vowel"], "c": NAMES["coda"], "e": NAMES["ending"]}
    name = "".join(rng.choice(table[s]) for s in shape).title()
    return name if len(name) > 2 else name + rng.choice(NAMES["ending"])


class Person:
    """One person of a document: the forms of the name go together."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.female = rng.random() < 0.45
        locales = "common_locales" if rng.random() < 0.55 else "other_locales"
        key = rng.choice(NAMES[locales])
        c = culture(key)
        self.given = rng.choice(c.female if self.female else c.male)
        self.family = rng.choice(c.family_female if self.female else c.family)
        if rng.random() < 0.06:
            self.given = coined(rng)
        if rng.random() < 0.14:
            self.family = coined(rng)
        if locales == "common_locales" and rng.random() < 0.3:
            self.given = rng.choice(NAMES["given_female" if self.female else "given_male"])
        if rng.random() < 0.05:
            self.family = rng.choice(NAMES["prefix"]) + self.family
        elif rng.random() < 0.04:
            self.family = rng.choice(NAMES["particle"]) + " " + self.family
        elif rng.random() < 0.03:
            self.family += "-" + rng.choice(c.family)
        self.middle = rng.choice(c.female if self.female else c.male)
        self.eastern = key in NAMES["family_first"] and rng.random() < 0.5
        self._full = ""

    @property
    def full(self) -> str:
        """The full name; the same in one document."""
        if not self._full:
            self._full = self._spell()
        return self._full

    def _spell(self) -> str:
        rng, g, f, m = self.rng, self.given, self.family, self.middle
        if self.eastern:
            return f"{f} {g}"
        roll = rng.random()
        if roll < 0.66:
            return f"{g} {f}"
        if roll < 0.76:
            return f"{g} {m[0]}{rng.choice(('.', '.', '.', ''))} {f}"
        if roll < 0.83:
            return f"{g} {m} {f}"
        if roll < 0.88:
            return rng.choice((f"{g[0]}. {f}", f"{g[0]}. {m[0]}. {f}", f"{g[0]}.{m[0]}. {f}"))
        if roll < 0.91:
            quote = rng.choice(('"{}"', "'{}'", '" {} "', "“{}”", "({})"))
            return f"{g} {quote.format(rng.choice(NAMES['nickname']))} {f}"
        if roll < 0.94:
            return f"{g} {f} {rng.choice(('Jr.', 'Jr', 'Sr.', 'II', 'III', 'IV'))}"
        if roll < 0.97:
            return f"{g}-{m} {f}" if rng.random() < 0.5 else f"{g} {m} {coined(rng)} {f}"
        return f"{g} {f}"

    def form(self, name: str) -> str:
        """One form: full, first, last, reverse, initials, legal, plain, short, ..."""
        rng, g, f = self.rng, self.given, self.family
        match name:
            case "full":
                return self.full
            case "first":
                return g
            case "last":
                return f
            case "plain":
                return f"{f} {g}" if self.eastern else f"{g} {f}"
            case "reverse":
                tail = rng.choice(("", "", "", f" {self.middle[0]}."))
                return f"{f}, {g}{tail}" if rng.random() < 0.8 else f"{f}, {g[0]}.{self.middle[0]}."
            case "initial":
                return rng.choice((f"{g} {f[0]}.", f"{g[0]}. {f}", f"{f} {g[0]}", f"{g} {f[0]}"))
            case "legal":
                return f"{g} {self.middle} {f}"
            case "stage":
                return f"{rng.choice(NAMES['stage_first'])} {g}"
            case "alias":
                return self._alias()
            case "any":
                return rng.choice((g, f, f"{g} {f}"))
            case "caps":
                return f"{g} {f}".upper()
            case "lastcaps":
                return f"{f.upper()}, {g}" if rng.random() < 0.5 else f"{g} {f.upper()}"
            case _:
                raise KeyError(name)

    def _alias(self) -> str:
        """What fans call somebody: a made-up word, a clipped or drawn-out name."""
        rng, g = self.rng, self.given
        made = coined(rng)
        return rng.choice(
            (
                made, made.lower(), made + "z", "i" + made, "".join(w.title() for w in (g, made)),
                g[: rng.randint(3, 4)], g + "y", g.lower() + g[-1] * 2, f"{g} {self.family[0]}",
                rng.choice(NAMES["nickname"]), f"Big {g}", f"{made} {g[0]}",
            )
        )  # fmt: skip

    def pronoun(self, name: str) -> str | None:
        """he, him, his, himself, man, son, father, mr in the person's gender, or None."""
        table = {
            "he": "she", "him": "her", "his": "her", "himself": "herself", "man": "woman",
            "son": "daughter", "father": "mother", "brother": "sister", "husband": "wife",
            "boy": "girl", "actor": "actress", "king": "queen", "mr": "Ms.", "sir": "Dame",
            "male": "female", "M": "F",
        }  # fmt: skip
        if name not in table:
            return None
        text = table[name] if self.female else {"mr": "Mr.", "sir": "Sir"}.get(name, name)
        if name == "mr" and self.female:
            return self.rng.choice(("Ms.", "Mrs.", "Miss", "Ms"))
        return text


def someone(rng: random.Random) -> str:
    """A person whom the text names once, often in a way of their own."""
    roll = rng.random()
    person = Person(rng)
    if roll < 0.8:
        return person.full
    if roll < 0.86:
        return coined(rng) if rng.random() < 0.5 else person.form("first")
    if roll < 0.93:
        return historical(rng)
    second = rng.choice((person.given, rng.choice(NAMES["nickname"])))
    return f"{rng.choice(NAMES['stage_first'])} {second}"


def historical(rng: random.Random) -> str:
    """A ruler, saint or ancient: a name with a number, a byname or an origin."""
    person = Person(rng)
    g = rng.choice((person.given, rng.choice(NAMES["ancient"]), rng.choice(NAMES["ancient"])))
    return rng.choice(
        [
            f"{g} {rng.choice(('I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'XI', 'XIV'))}",
            f"{g} the {rng.choice(NAMES['byname'])}",
            f"{g} {rng.choice(('of', 'of', 'de', 'von', 'da'))} {rng.choice(NAMES['origin'])}",
            f"{g} {rng.choice(('ibn', 'bin', 'ben', 'ap'))} {rng.choice(NAMES['ancient'])}",
            g,
        ]
    )
