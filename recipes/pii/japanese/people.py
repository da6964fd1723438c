"""Persons, and the forms in which Japanese text mentions them."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from recipes.pii.japanese import foreign
from recipes.pii.japanese.lexicon import reading, words

SURNAME = "名詞,固有名詞,人名,姓"
GIVEN = "名詞,固有名詞,人名,名"
PERSON = "名詞,固有名詞,人名,一般"
_KANJI = r"[一-鿿々ヶケ]{1,4}"


class Person(NamedTuple):
    """One person. `short` is how later mentions go: the surname, or the only name there is."""

    full: str
    short: str
    given: str
    kana: str
    latin: str


def draw(rng: random.Random) -> Person:
    """A person of any kind, Japanese and European ones most often."""
    kinds, weights = zip(*_KINDS, strict=True)
    kind: Callable[[random.Random], Person] = rng.choices(kinds, weights=weights)[0]
    return kind(rng)


def draw_japanese(rng: random.Random) -> Person:
    """A present-day Japanese person."""
    family = _family(rng)
    given = _given(rng)
    kana = f"{_read(SURNAME, family, rng)} {_read(GIVEN, given, rng)}"
    space = "" if rng.random() < 0.93 else rng.choice(" 　")
    return Person(family + space + given, family, given, kana, foreign.romaji(rng))


def _kana_only(rng: random.Random) -> Person:
    """A person who writes the whole name in kana."""
    kana = _kana(rng)
    family, given = kana.split()
    name = rng.choice((family + given, family + given, kana, given))
    return Person(name, given if rng.random() < 0.5 else name, given, kana, foreign.romaji(rng))


def _read(pos: str, name: str, rng: random.Random) -> str:
    return reading(pos, name) or words(pos, r"[ぁ-ん]{2,4}").draw(rng)


def _family(rng: random.Random) -> str:
    if rng.random() < 0.06:
        return rng.choice(_common_kanji()) + rng.choice("田村山川野島原井本沢崎谷塚尾木松浦瀬森")
    return words(SURNAME, _KANJI).draw(rng)


def _given(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.74:
        return words(GIVEN, r"[一-鿿々]{1,3}").draw(rng)
    if kind < 0.86:
        return words(GIVEN, r"[ぁ-ん]{2,4}").draw(rng)
    if kind < 0.94:
        return words(GIVEN, r"[ァ-ヴー]{2,4}|[一-鿿][ぁ-ん]{1,2}|[ぁ-ん]{1,2}[一-鿿]").draw(rng)
    first, second = words(GIVEN, r"[一-鿿]{2}").draw(rng), words(GIVEN, r"[一-鿿]{2}").draw(rng)
    return first[0] + second[1]


def _kana(rng: random.Random) -> str:
    family = words(SURNAME, r"[ぁ-ん]{2,5}").draw(rng)
    return f"{family} {words(GIVEN, r'[ぁ-ん]{2,4}').draw(rng)}"


def _western(rng: random.Random) -> Person:
    given, middle, family = foreign.name(rng)
    dot = rng.choices("・＝ ", weights=[96, 2, 2])[0]
    names = [given, *([middle] if middle else []), family]
    if rng.random() < 0.03:
        names[0] = rng.choice("ABCDEFGHJKLMPRSTW")
    full = dot.join(names)
    latin = foreign.latin(rng)
    return Person(full, family, given, latin, latin)


def _chinese(rng: random.Random) -> Person:
    family = rng.choice(foreign.CHINESE_FAMILIES)
    given = "".join(rng.choice(foreign.CHINESE_GIVEN) for _ in range(rng.choice((1, 2, 2))))
    full = family + given
    if rng.random() < 0.25:
        full = words(PERSON, r"[一-鿿]{2,3}").draw(rng)
    kana = foreign.pinyin(rng)
    return Person(full, full if rng.random() < 0.85 else full[:1], full, kana, kana)


def _korean(rng: random.Random) -> Person:
    if rng.random() < 0.5:
        family = rng.choice(
            "金李朴崔鄭姜趙尹張林呉韓申徐権黄安宋柳洪全高文梁孫裵白許南沈盧河郭成車"
        )
        full = family + rng.choice(foreign.KOREAN_HANJA) + rng.choice(foreign.KOREAN_HANJA)
        return Person(full, full, full[1:], foreign.korean(rng).full, foreign.korean(rng).full)
    made = foreign.korean(rng)
    return Person(made.full, made.short, made.short, made.full, made.full)


def _historical(rng: random.Random) -> Person:
    clan = rng.choice(foreign.CLANS)
    given = rng.choice(_common_given()) + rng.choice(foreign.SAMURAI_ENDINGS)
    kind = rng.random()
    if kind < 0.75:
        return Person(clan + given, given, given, _kana(rng), foreign.romaji(rng))
    if kind < 0.85:
        call = rng.choice(foreign.COMMON_CALLS)
        return Person(clan + call, call, given, _kana(rng), foreign.romaji(rng))
    monk = "".join(rng.choice(foreign.MONK_CHARACTERS) for _ in range(2))
    return Person(monk, monk, monk, _kana(rng), foreign.romaji(rng))


def _monarch(rng: random.Random) -> Person:
    name = foreign.name(rng)[0]
    kind = rng.random()
    if kind < 0.7:
        numbered = name + rng.choice(_ORDINALS)
        return Person(numbered, numbered, name, name, name)
    return Person(name, name, name, name, name)


def _single(rng: random.Random) -> Person:
    """One name and no more: figures of fiction, singers, ancient people."""
    kind = rng.random()
    if kind < 0.4:
        name = foreign.made_up(rng)
    elif kind < 0.6:
        name = foreign.name(rng)[0]
    elif kind < 0.75:
        name = words(GIVEN, r"[ぁ-ん]{2,4}").draw(rng)
    else:
        name = words(GIVEN, r"[一-鿿々]{1,3}").draw(rng)
    return Person(name, name, name, name, name)


def _artist(rng: random.Random) -> Person:
    """Stage, pen and ring names."""
    kind = rng.random()
    if kind < 0.3:
        name = words(PERSON).draw(rng)
    elif kind < 0.5:
        house = rng.choice(foreign.STAGE_HOUSES)
        name = house + rng.choice(_common_given()) + rng.choice("朝楽遊丸之助郎馬生蔵松枝")
        return Person(name, name, name, name, name)
    elif kind < 0.65:
        name = rng.choice(foreign.RING_STARTS) + rng.choice(foreign.RING_ENDINGS)
    elif kind < 0.85:
        family = _family(rng)
        name = family + rng.choice((foreign.name(rng)[0], _given(rng)))
        if rng.random() < 0.4:
            name = (
                rng.choice((foreign.name(rng)[0], words(GIVEN, r"[ァ-ヴー]{2,4}").draw(rng)))
                + family
            )
        return Person(name, family, name, name, foreign.latin(rng))
    else:
        name = foreign.latin(rng)
        if rng.random() < 0.5:
            name = rng.choice((name.split()[-1], name.split()[0].upper(), "DJ " + name.split()[0]))
    return Person(name, name, name, name, name)


@cache
def _common_kanji() -> list[str]:
    return sorted({word[0] for word in words(SURNAME, r"[一-鿿]{2}")})


@cache
def _common_given() -> list[str]:
    return sorted({word[0] for word in words(GIVEN, r"[一-鿿]{2}")})


_ORDINALS = [f"{n}世" for n in (*range(1, 17), "一", "二", "三", "四", "五", "六", "七", "十三")]
_KINDS: tuple[tuple[Callable[[random.Random], Person], float], ...] = (
    (draw_japanese, 42),
    (_western, 29),
    (_chinese, 4),
    (_korean, 3),
    (_historical, 7),
    (_monarch, 4),
    (_single, 6.5),
    (_artist, 4),
    (_kana_only, 2),
)
