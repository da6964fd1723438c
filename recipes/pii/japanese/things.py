"""Words that are no person's name: places, organisations, products, numbers, dates."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from faker import Faker

from recipes.pii.japanese.lexicon import Chain, word_list, words
from recipes.pii.values import Values

_FAKE = Faker("en_US")
_ERAS = (("明治", 44), ("大正", 14), ("昭和", 63), ("平成", 30), ("令和", 7))
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _year(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.75:
        return str(rng.choice((rng.randint(1850, 2023), rng.randint(1950, 2023))))
    return str(rng.randint(600, 1849))


def _era_year(rng: random.Random) -> str:
    era, last = rng.choice(_ERAS)
    return f"{era}{rng.choice(['元', *map(str, range(1, last + 1))])}年"


def _day(rng: random.Random) -> str:
    return f"{rng.randint(1, 12)}月{rng.randint(1, 28)}日"


def _number(rng: random.Random) -> str:
    high = rng.choices((12, 100, 3000), (50, 42, 8))[0]
    return str(rng.randint(2, high))


def _large(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return f"{rng.randint(1, 90)}万{rng.choice(['', str(rng.randint(1000, 9999))])}"
    if kind < 0.7:
        return f"{rng.randint(1, 99)},{rng.randint(0, 999):03}"
    return f"{rng.randint(1, 99)}億"


def _acronym(rng: random.Random) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(rng.choice((2, 3, 3, 3, 4))))


def _model_number(rng: random.Random) -> str:
    dash = rng.choice(("-", ""))
    return f"{rng.choice(_LETTERS)}{rng.choice(_LETTERS + ' ').strip()}{dash}{rng.randint(1, 999)}"


def _english(rng: random.Random) -> str:
    _FAKE.seed_instance(rng.getrandbits(32))
    text = " ".join(_FAKE.words(rng.choice((1, 1, 2, 2, 3))))
    return rng.choice((text.title(), text.title(), text.upper(), text))


@cache
def _brands() -> Chain:
    return Chain(words("名詞,固有名詞,組織,*", r"[ァ-ヴー]{3,}"))


@cache
def _lands() -> Chain:
    return Chain([*words("名詞,固有名詞,地域,一般", r"[ァ-ヴー]{3,}"), *_COUNTRIES])


def _foreign_place(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return _lands().draw(rng)
    return words("名詞,固有名詞,地域,一般", r"[ァ-ヴー]{3,}", 0.6).draw(rng)


_COUNTRIES = word_list("countries")
_PREFECTURES = word_list("prefectures")


def _drawn(pos: str, pattern: str, even: float = 0.3) -> Callable[[random.Random], str]:
    return lambda rng: words(pos, pattern, even).draw(rng)


THINGS: dict[str, Callable[[random.Random], str]] = {
    "year": _year,
    "era": _era_year,
    "day": _day,
    "n": _number,
    "large": _large,
    "small": lambda rng: str(rng.randint(1, 9)),
    "age": lambda rng: str(rng.randint(5, 95)),
    "decimal": lambda rng: f"{rng.randint(0, 60)}.{rng.randint(1, 99)}",
    "acronym": _acronym,
    "hash": lambda rng: Values(rng).hash(),
    "uuid": lambda rng: Values(rng).uuid(),
    "tracking": lambda rng: Values(rng).tracking(),
    "model": _model_number,
    "english": _english,
    "brand": lambda rng: _brands().draw(rng),
    "land": _foreign_place,
    "country": lambda rng: rng.choice(_COUNTRIES),
    "prefecture": lambda rng: rng.choice(_PREFECTURES),
    # Proper nouns out of the dictionary: most of these places are surnames as well.
    "town": _drawn("名詞,固有名詞,地域,一般", r"[一-鿿ヶケ]{2,3}"),
    "sight": _drawn("名詞,固有名詞,一般,*", r"[一-鿿ヶケ]{2,5}"),
    "company": _drawn("名詞,固有名詞,組織,*", r".{2,12}"),
    "surname": _drawn("名詞,固有名詞,人名,姓", r"[一-鿿]{1,3}"),
    "givenname": _drawn("名詞,固有名詞,人名,名", r"[一-鿿]{1,3}"),
    "maker": _drawn("名詞,固有名詞,人名,姓", r"[ァ-ヴー]{3,}"),
    "rarenoun": _drawn("名詞,一般,*,*", r"[一-鿿]{2,3}", 0.9),
    "rarething": _drawn("名詞,一般,*,*", r"[ァ-ヴー]{3,7}", 0.9),
    "kana": _drawn("名詞,一般,*,*", r"[ぁ-ん]{3,5}", 0.3),
    "raredoing": _drawn("名詞,サ変接続,*,*", r"[一-鿿]{2}", 0.9),
    "rarequality": _drawn("名詞,形容動詞語幹,*,*", r"[一-鿿]{2,3}", 0.5),
}
