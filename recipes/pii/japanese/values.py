"""Structured personal data as Japanese documents write it."""

from __future__ import annotations

import random
from collections.abc import Callable

from faker import Faker

from recipes.pii.japanese.lexicon import word_list, words

_FAKE = Faker("ja_JP")
_FULL_WIDTH = str.maketrans("0123456789-", "０１２３４５６７８９－")
_ERAS = (
    ("昭和", "S", 1925, 1926, 1988),
    ("平成", "H", 1988, 1989, 2018),
    ("令和", "R", 2018, 2019, 2024),
)
_BUILDINGS = word_list("buildings")
_KANJI_DIGITS = "〇一二三四五六七八九"


def _digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(n))


def _wide(rng: random.Random, text: str) -> str:
    return text.translate(_FULL_WIDTH) if rng.random() < 0.12 else text


def phone(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.45:
        parts = [rng.choice(("090", "080", "070", "050")), _digits(rng, 4), _digits(rng, 4)]
    elif kind < 0.85:
        area = rng.choice(("03", "06", "045", "052", "011", "092", "075", "0422", "0467", "0985"))
        parts = [area, _digits(rng, 6 - len(area)), _digits(rng, 4)]
    else:
        parts = ["0120", _digits(rng, 3), _digits(rng, 3)]
    shape = rng.random()
    if shape < 0.6:
        text = "-".join(parts)
    elif shape < 0.72:
        text = f"{parts[0]}({parts[1]}){parts[2]}"
    elif shape < 0.86:
        text = "".join(parts)
    elif shape < 0.93:
        text = " ".join(parts)
    else:
        text = "+81-" + "-".join(parts)[1:]
    return _wide(rng, text)


def address(rng: random.Random) -> str:
    _FAKE.seed_instance(rng.getrandbits(32))
    prefecture = _FAKE.prefecture() if rng.random() < 0.85 else ""
    city = _FAKE.city()
    town = words("名詞,固有名詞,地域,一般", r"[一-鿿ヶケ]{2,4}").draw(rng)
    chome, block, house = rng.randint(1, 9), rng.randint(1, 30), rng.randint(1, 28)
    shape = rng.random()
    if shape < 0.4:
        number = f"{chome}-{block}-{house}"
    elif shape < 0.7:
        number = f"{chome}丁目{block}番{house}号"
    elif shape < 0.8:
        number = f"{chome}丁目{block}-{house}"
    elif shape < 0.88:
        number = f"{_KANJI_DIGITS[chome]}丁目{block}番地{house}"
    else:
        number = f"{rng.randint(1, 3000)}番地" + (f"の{rng.randint(2, 9)}" if house < 10 else "")
    text = prefecture + city + town + _wide(rng, number)
    if rng.random() < 0.4:
        building = rng.choice(_BUILDINGS) + (town if rng.random() < 0.6 else "")
        room = rng.choice(
            (str(rng.randint(1, 15) * 100 + rng.randint(1, 12)), f"{rng.choice('ABC')}-{chome}")
        )
        text += (
            rng.choice((" ", "　", "")) + building + rng.choice((room + "号室", room, " " + room))
        )
    if rng.random() < 0.4:
        text = f"〒{_wide(rng, _digits(rng, 3) + '-' + _digits(rng, 4))}{rng.choice(' 　')}{text}"
    return text


def date_of_birth(rng: random.Random) -> str:
    month, day = rng.randint(1, 12), rng.randint(1, 28)
    kind = rng.random()
    if kind < 0.35:
        era, letter, base, first, last = rng.choice(_ERAS)
        year = rng.randint(first, last) - base
        if rng.random() < 0.25:
            return f"{letter}{year}.{month}.{day}"
        return (
            f"{era}{_wide(rng, f'{year}年{month}月{day}日')}"
            if year > 1
            else f"{era}元年{month}月{day}日"
        )
    year = rng.randint(1926, 2020)
    shape = rng.choice(("{}年{}月{}日", "{}年{}月{}日", "{}/{}/{}", "{}-{:02}-{:02}", "{}.{}.{}"))
    return _wide(rng, shape.format(year, month, day))


def my_number(rng: random.Random) -> str:
    """A 12-digit individual number with its check digit (MIC ordinance 85 of 2014, article 5)."""
    body = _digits(rng, 11)
    total = sum(int(d) * (n + 1 if n <= 6 else n - 5) for n, d in enumerate(reversed(body), 1))
    rest = total % 11
    number = body + str(0 if rest <= 1 else 11 - rest)
    if rng.random() < 0.5:
        number = rng.choice((" ", "-")).join((number[:4], number[4:8], number[8:]))
    return _wide(rng, number)


def card(rng: random.Random) -> str:
    _FAKE.seed_instance(rng.getrandbits(32))
    number = str(_FAKE.credit_card_number("visa16"))
    return rng.choice(("", "-", " ")).join(number[i : i + 4] for i in range(0, 16, 4))


def staff_number(rng: random.Random) -> str:
    letter = rng.choice(("", "", rng.choice("ABEKSX"), rng.choice("ABEKSX") + "-", "EMP-", "S"))
    return letter + _digits(rng, rng.choice((5, 6, 8)))


def username(rng: random.Random) -> str:
    _FAKE.seed_instance(rng.getrandbits(32))
    name = str(_FAKE.user_name())
    return rng.choice((name, name + _digits(rng, 2), name.replace("a", "_", 1).strip("_") or name))


def email(rng: random.Random) -> str:
    _FAKE.seed_instance(rng.getrandbits(32))
    host = rng.choice(
        ("example.com", "example.co.jp", "example.jp", "mail.example.ne.jp", _FAKE.domain_name())
    )
    name = username(rng)
    return f"{name}.{_FAKE.user_name()}@{host}" if rng.random() < 0.3 else f"{name}@{host}"


def secret(rng: random.Random) -> str:
    _FAKE.seed_instance(rng.getrandbits(32))
    if rng.random() < 0.3:
        return str(_FAKE.word()) if rng.random() < 0.2 else f"{username(rng)}{_digits(rng, 3)}!"
    return str(_FAKE.password(length=rng.randint(8, 16)))


def api_key(rng: random.Random) -> str:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    prefix = rng.choice(("sk-", "ghp_", "AKIA", "xoxb-", ""))
    return prefix + "".join(rng.choice(letters) for _ in range(rng.randint(20, 36)))


def ip_address(rng: random.Random) -> str:
    _FAKE.seed_instance(rng.getrandbits(32))
    return str(_FAKE.ipv4() if rng.random() < 0.8 else _FAKE.ipv6())


VALUES: dict[str, Callable[[random.Random], str]] = {
    "phone": phone,
    "address": address,
    "birth": date_of_birth,
    "mynumber": my_number,
    "licence": lambda rng: _wide(rng, _digits(rng, 12)),
    "passport": lambda rng: rng.choice("TM") + rng.choice("KRSZ") + _digits(rng, 7),
    "account": lambda rng: _wide(rng, _digits(rng, 7)),
    "card": card,
    "insurance": lambda rng: f"{_digits(rng, 4)}-{_digits(rng, rng.choice((4, 6)))}",
    "pension": lambda rng: f"{_digits(rng, 4)}-{_digits(rng, 6)}",
    "staff": staff_number,
    "username": username,
    "email": email,
    "secret": secret,
    "apikey": api_key,
    "pin": lambda rng: _digits(rng, 4),
    "ip": ip_address,
}
