"""Structured personal data in many formats: telephone and account numbers, addresses, secrets.

Every number that has a checksum in life has a right one here (Luhn, mod 97, ...), since what a
guard meets in real text is valid. Faker gives countries and formats; what it lacks is added.
"""

from __future__ import annotations

import base64
import ipaddress
import random
import re
import string
import unicodedata
from functools import cache
from itertools import pairwise
from uuid import UUID

from faker import Faker
from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from recipes.pii.words import words

LISTS = words("values")


def _digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choices(string.digits, k=n))


def _shape(rng: random.Random, shape: str) -> str:
    """Random characters in a shape: # digit, @ capital letter, % digit from 1 to 9."""
    tables = {"#": string.digits, "@": string.ascii_uppercase, "%": "123456789"}
    return "".join(rng.choice(tables[c]) if c in tables else c for c in shape)


def _plain(text: str) -> str:
    """The ASCII letters and digits of a text, in lower case."""
    folded = unicodedata.normalize("NFKD", text.lower().replace("ß", "ss").replace("ø", "o"))
    return re.sub(r"[^a-z0-9]", "", folded)


@cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


class Values:
    """Draws structured values; the same generator state draws the same values."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def faker(self, *locales: str) -> Faker:
        """A Faker of one of the locales, which draws from this generator."""
        fake = _faker(self.rng.choice(locales))
        fake.factories[0].random = self.rng
        return fake

    # -- reaching people

    def phone(self) -> str:
        if self.rng.random() < 0.55:
            return str(self.faker(*LISTS["phone_locales"]).phone_number())
        shapes = self.rng.choice(("phones_american", "phones_elsewhere"))
        return _shape(self.rng, self.rng.choice(LISTS[shapes]))

    def domain(self) -> str:
        rng = self.rng
        if rng.random() < 0.2:
            name = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 9)))
        else:
            name = "".join(rng.sample(LISTS["domain_words"], rng.randint(1, 2)))
        return f"{name}.{rng.choice(LISTS['domain_endings'])}"

    def email(self, given: str = "", family: str = "") -> str:
        """An e-mail address, of the person where one is given."""
        rng = self.rng
        fake = self.faker("en_US", "en_GB")
        g = given or fake.first_name()
        f = family or fake.last_name()
        a, b = _plain(g) or "info", _plain(f) or "office"
        word = rng.choice(LISTS["handle_words"])
        local = rng.choice(
            [
                f"{a}.{b}", f"{a}{b}", f"{a[0]}{b}", f"{a}_{b}", f"{b}.{a}",
                f"{a}{rng.randint(1, 99)}",
                f"{a[0]}.{b}", f"{b}{a[0]}", f"{a}-{b}", a, f"{a}{b}{rng.randint(1950, 2012)}",
                "".join(w.title() for w in (a, b)), "".join(w.title() for w in (a, b[0], b)),
                f"{word}{a}", f"{a}+{word}",
                rng.choice(("info", "sales", "support", "hr", "contact", "j", "office")),
            ]
        )  # fmt: skip
        host = rng.choice(LISTS["mail_hosts"]) if rng.random() < 0.45 else self.domain()
        return f"{local}@{host}"

    def username(self, given: str = "") -> str:
        """A handle of a network or a login name, without the @."""
        rng = self.rng
        name = _plain(given or self.faker("en_US", "es_ES", "de_DE").first_name()) or "user"
        last = _plain(self.faker("en_US", "en_GB").last_name())
        a, b = rng.sample(LISTS["handle_words"], 2)
        n = rng.choice(("", str(rng.randint(1, 99)), str(rng.randint(1970, 2012)), _digits(rng, 4)))
        return rng.choice(
            [
                f"{name}{n}", f"{name}_{last}", f"{a}_{b}{n}", f"{a}{b.title()}{n}",
                f"{name}_{a}{n}",
                f"{a.title()}{b.title()}{n}", f"x{a}{name}x", f"{name[0]}{last}{n}",
                f"the{a}{name}",
                f"{name}.{last}", f"{last}{name[0]}{n}", f"{a}-{b}-{n or 7}", f"_{name}{a}_",
            ]
        )  # fmt: skip

    # -- addresses

    def postcode(self) -> str:
        return str(self.faker(*LISTS["address_locales"]).postcode())

    def street(self) -> str:
        """A street with a house number, as written in one of the countries."""
        rng = self.rng
        fake = self.faker(*LISTS["address_locales"])
        if rng.random() < 0.7:
            return str(fake.street_address()).replace("\n", ", ")
        number = rng.choice((str(rng.randint(1, 299)), str(rng.randint(1000, 99999)), "12b", "3A"))
        if rng.random() < 0.3:  # a unit and a house number, as some forms put them
            return f"{number} {fake.street_address()}".replace("\n", ", ")
        street = str(fake.street_name())
        return f"{number} {street}" if rng.random() < 0.5 else f"{street} {number}"

    def address(self) -> str:
        """A postal address on one line or several: the parts and their order vary."""
        rng = self.rng
        fake = self.faker(*LISTS["address_locales"])
        if rng.random() < 0.08:
            shape = rng.choice(LISTS["military"]).replace(r"\n", "\n")
            return _shape(rng, shape).replace("NAME", str(fake.last_name()))
        if rng.random() < 0.35:
            address = str(fake.address())
            return address.replace("\n", ", ") if rng.random() < 0.5 else address
        street = self.street()
        unit = rng.choice(LISTS["units"]) if rng.random() < 0.75 else ""
        unit = _shape(rng, unit)
        city = str(fake.city())
        if rng.random() < 0.1:
            city = city.upper()
        code = str(fake.postcode())
        country = str(self.faker("en_US").country())
        tail = rng.choice(
            [
                [city], [city, country], [f"{city} {code}"], [f"{code} {city}", country],
                [city, code], [city, country, code], [city, _shape(rng, "@@"), code],
                [f"{city}, {_shape(rng, '@@')} {code}"], [f"{code} {city}"],
                [city, str(fake.city()), country], [city, f"{country} {code}"],
            ]
        )  # fmt: skip
        parts = [street, unit, *tail] if unit else [street, *tail]
        if unit and rng.random() < 0.5:
            parts[:2] = [f"{street} {unit}"]
        gaps = (", ", ", ", ", ", "\n", "\n ", " ", "\n    ", ",\n")
        gap, text = rng.choice(gaps), parts[0]
        for part in parts[1:]:
            text += (rng.choice(gaps) if rng.random() < 0.15 else gap) + part
        return text

    # -- numbers of identity and money

    def card(self) -> str:
        """A payment card number: right prefix, length and check digit."""
        rng = self.rng
        prefix, length = rng.choice(
            [
                ("4", 16), ("4", 16), ("4", 16), ("4", 13), ("4", 19), ("51", 16), ("53", 16),
                ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16),
                ("35", 16), ("30", 14), ("36", 14), ("38", 14), ("50", 12), ("58", 12), ("67", 12),
                ("1800", 15), ("2131", 15),
            ]
        )  # fmt: skip
        body = prefix + _digits(rng, length - 1 - len(prefix))
        number = body + luhn.calc_check_digit(body)
        if rng.random() < 0.6:
            return number
        sep = rng.choice((" ", " ", "-"))
        cuts = (4, 10) if length in (14, 15) else (4, 8, 12, 16)
        edges = [0, *[c for c in cuts if c < length], length]
        return sep.join(number[a:b] for a, b in pairwise(edges))

    def iban(self) -> str:
        number = str(self.faker(*LISTS["iban_locales"]).iban())
        if not mod_97_10.is_valid(
            number[4:] + number[:4]
        ):  # some of Faker's countries are careless
            body = number[4:] + number[:2]
            number = number[:2] + mod_97_10.calc_check_digits(body) + number[4:]
        roll = self.rng.random()
        if roll < 0.2:
            return " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        return number.lower() if roll < 0.25 else number

    def ssn(self) -> str:
        """A national insurance or identity number of one of many countries."""
        if self.rng.random() < 0.5:
            return str(self.faker("en_US").ssn())
        return str(self.faker(*LISTS["ssn_locales"]).ssn())

    def passport(self) -> str:
        return _shape(self.rng, self.rng.choice(LISTS["passports"]))

    def licence(self) -> str:
        """A driver's licence number in the format of one of several states and countries."""
        return _shape(self.rng, self.rng.choice(LISTS["licences"]))

    def account(self) -> str:
        """A bank account, routing, sort-code, tax or insurance number."""
        return _shape(self.rng, self.rng.choice(LISTS["accounts"]))

    # -- secrets and machines

    def secret(self) -> str:
        """A password, key or token."""
        rng = self.rng
        alnum = string.ascii_letters + string.digits

        def run(n: int, alphabet: str = alnum) -> str:
            return "".join(rng.choices(alphabet, k=n))

        def token() -> str:
            raw = bytes(rng.getrandbits(8) for _ in range(rng.randint(18, 40)))
            return base64.b64encode(raw).decode()

        word = rng.choice(LISTS["password_words"])
        kind = rng.randrange(12)
        if kind < 4:
            tail = rng.choice(("!", "#1", "123", "!!", "@", "$", "")) + str(rng.randint(0, 2030))
            return rng.choice((word, word.title(), word.replace("o", "0").replace("e", "3"))) + tail
        if kind < 6:
            return run(rng.randint(8, 16), alnum + "!@#$%^&*?-_") + rng.choice("!9xZ")
        return (
            "AKIA" + run(16, string.ascii_uppercase + string.digits),
            run(40, alnum + "/+"),
            rng.choice(("ghp_", "gho_", "glpat-")) + run(36),
            rng.choice(("sk_live_", "sk-", "pk_test_", "xoxb-", "hf_")) + run(rng.randint(24, 40)),
            token(),
            rng.choice((run(32, "0123456789abcdef"), f"eyJ{run(17)}.eyJ{run(30)}.{run(27)}")),
        )[kind - 6]

    def ip(self) -> str:
        rng = self.rng
        if rng.random() < 0.75:
            return ".".join(str(rng.randint(1, 254)) for _ in range(4))
        six = ipaddress.IPv6Address(rng.getrandbits(128))
        return str(six) if rng.random() < 0.8 else six.exploded

    # -- numbers of things, which are nobody's

    def hash(self) -> str:
        """A commit or a checksum, in full or cut short."""
        length = self.rng.choice((7, 8, 32, 40, 40, 64))
        return "".join(self.rng.choices("0123456789abcdef", k=length))

    def uuid(self) -> str:
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def tracking(self) -> str:
        """A number that follows a parcel or an order, as carriers and shops shape it."""
        return _shape(self.rng, self.rng.choice(LISTS["tracking"]))

    # -- dates

    def date(self, first: int = 1800, last: int = 2026) -> str:
        """A day, in one of the ways in which people write it."""
        rng = self.rng
        y, m, d = rng.randint(first, last), rng.randint(1, 12), rng.randint(1, 28)
        month = LISTS["months"][m - 1]
        return rng.choice(
            [
                f"{d} {month} {y}", f"{month} {d}, {y}", f"{month} {d}, {y}",
                f"{d} {month[:3]} {y}",
                f"{m}/{d}/{y}", f"{d:02}/{m:02}/{y}", f"{d:02}.{m:02}.{y}", f"{y}-{m:02}-{d:02}",
                f"{d}-{month[:3]}-{y}", f"{m:02}/{d:02}/{y % 100:02}",
            ]
        )  # fmt: skip
