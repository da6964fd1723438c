"""Names from outside modern Japan, as Japanese text writes them."""

from __future__ import annotations

import random
from functools import cache
from typing import NamedTuple

from faker import Faker

from recipes.pii.japanese.lexicon import Chain, word_list, words

# How often a name comes from a language; given name and surname are of the same one.
_SHARES = {"english": 40, "german": 12, "french": 11, "italian": 7, "spanish": 9, "russian": 7,
           "slavic": 5, "nordic": 6, "islamic": 4, "indian": 3, "ancient": 3}  # fmt: skip

_NAMES = {k: (word_list(f"given_{k}"), word_list(f"family_{k}")) for k in _SHARES}

CHINESE_FAMILIES = word_list("chinese_families")
CHINESE_GIVEN = word_list("chinese_given")
KOREAN_HANJA = word_list("korean_hanja")
_KOREAN_FAMILIES = word_list("korean_families")
_KOREAN_SYLLABLES = word_list("korean_syllables")
CLANS = word_list("clans")
SAMURAI_ENDINGS = word_list("samurai_endings")
COMMON_CALLS = word_list("common_calls")
MONK_CHARACTERS = word_list("monk_characters")
STAGE_HOUSES = word_list("stage_houses")
RING_STARTS = word_list("ring_starts")
RING_ENDINGS = word_list("ring_endings")


def name(rng: random.Random) -> tuple[str, str, str]:
    """Given name, middle name (mostly empty) and surname, in katakana."""
    culture = rng.choices(list(_SHARES), weights=list(_SHARES.values()))[0]
    givens, families = _NAMES[culture]
    given, family = rng.choice(givens), rng.choice(families)
    if rng.random() < 0.35:
        family = made_up(rng) if rng.random() < 0.5 else _dictionary_name(rng)
    if rng.random() < 0.15:
        given = made_up(rng) if rng.random() < 0.6 else _dictionary_name(rng)
    middle = ""
    if rng.random() < 0.08:
        middle = rng.choice(givens) if rng.random() < 0.8 else rng.choice("ABCDEFGHJLMPRSTW")
    return given, middle, family


def made_up(rng: random.Random) -> str:
    """A katakana name that sounds like one."""
    return _chain().draw(rng, 2, 8)


@cache
def _chain() -> Chain:
    known = [part for g, f in _NAMES.values() for word in g + f for part in word.split("・")]
    kinds = ("姓", "名", "一般")
    return Chain(
        known + [w for k in kinds for w in words(f"名詞,固有名詞,人名,{k}", r"[ァ-ヴー]{3,}")]
    )


def _dictionary_name(rng: random.Random) -> str:
    return words("名詞,固有名詞,人名,姓", r"[ァ-ヴー]{3,}").draw(rng)


class KoreanName(NamedTuple):
    full: str
    short: str


def korean(rng: random.Random) -> KoreanName:
    """A Korean name in katakana; the given name stands for the whole in later mentions."""
    given = rng.choice(_KOREAN_SYLLABLES) + rng.choice(_KOREAN_SYLLABLES)
    return KoreanName(f"{rng.choice(_KOREAN_FAMILIES)}・{given}", given)


_LATIN = {
    locale: Faker(locale) for locale in ("en_US", "de_DE", "fr_FR", "it_IT", "es_ES", "en_GB")
}


def latin(rng: random.Random) -> str:
    """A European name in Latin letters."""
    fake = _LATIN[rng.choice(sorted(_LATIN))]
    fake.seed_instance(rng.getrandbits(32))
    return f"{fake.first_name()} {fake.last_name()}"


_ROMAJI_FAMILIES = word_list("romaji_families")
_ROMAJI_GIVENS = word_list("romaji_givens")


def romaji(rng: random.Random) -> str:
    """A Japanese name in Latin letters, either part first."""
    family, given = rng.choice(_ROMAJI_FAMILIES), rng.choice(_ROMAJI_GIVENS)
    if rng.random() < 0.3:
        return f"{family.upper()} {given}"
    return f"{given} {family}" if rng.random() < 0.6 else f"{family} {given}"


_PINYIN = word_list("pinyin")


def pinyin(rng: random.Random) -> str:
    """A Chinese reading in katakana."""
    return f"{rng.choice(_PINYIN)}・{rng.choice(_PINYIN)}{rng.choice(_PINYIN)}"
