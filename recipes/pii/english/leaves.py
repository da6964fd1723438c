"""The leaves of the grammar: values that are drawn and not written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from faker.providers.lorem.en_US import Provider as Vocabulary

from recipes.pii.document import Value, mark
from recipes.pii.english.engine import Leaf, Scope
from recipes.pii.english.people import Person, coined
from recipes.pii.values import LISTS, Values
from recipes.pii.words import words


def _labelled(label: str, draw: Callable[[Values], str]) -> Leaf:
    return lambda scope: mark(draw(Values(scope.rng)).strip(), label)


def _plain(draw: Callable[[Values], str]) -> Leaf:
    return lambda scope: draw(Values(scope.rng)).strip()


def _own_email(scope: Scope) -> Value:
    p = scope.persons.setdefault("p", Person(scope.rng))
    return mark(Values(scope.rng).email(p.given, p.family), "EMAIL")


def _own_username(scope: Scope) -> Value:
    p = scope.persons.setdefault("p", Person(scope.rng))
    return mark(Values(scope.rng).username(p.given), "USERNAME")


def _word(part_of_speech: str) -> Leaf:
    common = tuple(Vocabulary.parts_of_speech[part_of_speech])
    return lambda scope: scope.rng.choice(common)


def _camel_domain(scope: Scope) -> str:
    """A web address as marketing writes it: `BlueRiver.com`."""
    nouns = Vocabulary.parts_of_speech["noun"]
    name = "".join(scope.rng.choice(nouns).title() for _ in range(scope.rng.randint(1, 2)))
    return f"{name}.{scope.rng.choice(LISTS['domain_endings'])}"


def _number(scope: Scope) -> str:
    rng = scope.rng
    return rng.choice(
        [
            str(rng.randint(2, 99)), str(rng.randint(100, 999)), f"{rng.randint(1000, 999999):,}",
            f"{rng.uniform(0, 100):.1f}", f"{rng.uniform(0, 10):.2f}",
            rng.choice(("two", "three", "five", "six", "seven", "eight", "ten", "twenty", "fifty")),
        ]
    )  # fmt: skip


def _code(scope: Scope) -> str:
    """A number that is nobody's: product, order, tracking, version, ISBN, position, time stamp."""
    rng, v = scope.rng, Values(scope.rng)
    d = "".join(rng.choices("0123456789", k=24))
    up = "".join(rng.choices("ABCDEFGHJKLMNPRSTVWXYZ", k=6))
    return rng.choice(
        [
            f"{up[:2]}-{d[:4]}", f"{up[:3]}{d[:3]}", f"#{d[:6]}", f"{d[:3]}-{up[:2]}-{d[3:6]}",
            f"v{d[0]}.{d[1:3]}.{d[3]}", f"978-{d[0]}-{d[1:5]}-{d[5:9]}-{d[9]}", f"1Z{up}{d[:10]}",
            f"{d[:2]}.{d[2:6]}, -{d[6:8]}.{d[8:12]}", f"INV-{d[:4]}-{d[4:8]}", f"SKU {d[:8]}",
            f"{d[:12]}", f"{up[0]}{d[0]}", f"0x{d[:8]}", f"{d[:4]}/{d[4:6]}", f"RFC {d[:4]}",
            f"{up[:4]}{d[:7]}", f"{v.date(1990)} {d[0]}:{int(d[1:3]) % 60:02}",
            f"{d[:4]} {up[:2]}",
        ]
    )  # fmt: skip


def _crossing(scope: Scope) -> Value:
    """Two streets that meet: one place, though neither has a number."""
    fake = Values(scope.rng).faker("en_US", "en_GB", "en_CA", "en_AU")
    return mark(f"{fake.street_name()} and {fake.street_name()}", "ADDRESS")


FAMOUS = words("english/grammar/famous")
LEAVES: Mapping[str, Leaf] = {
    "PHONE": _labelled("PHONE", Values.phone),
    "EMAIL": _labelled("EMAIL", Values.email),
    "EMAIL_P": _own_email,
    "USERNAME": _labelled("USERNAME", Values.username),
    "USERNAME_P": _own_username,
    "ADDRESS": _labelled("ADDRESS", Values.address),
    "STREET": _labelled("ADDRESS", Values.street),
    "POSTCODE": _labelled("ADDRESS", Values.postcode),
    "CARD": _labelled("ID", Values.card),
    "IBAN": _labelled("ID", Values.iban),
    "SSN": _labelled("ID", Values.ssn),
    "PASSPORT": _labelled("ID", Values.passport),
    "LICENCE": _labelled("ID", Values.licence),
    "ACCOUNT": _labelled("ID", Values.account),
    "SECRET": _labelled("SECRET", Values.secret),
    "IP": _labelled("IP", Values.ip),
    "BORN": _labelled("DATE_OF_BIRTH", lambda v: v.date(1925, 2012)),
    "BORN_LONG_AGO": _labelled("DATE_OF_BIRTH", lambda v: v.date(1650, 1995)),
    "date": _plain(lambda v: v.date(1780)),
    "day": _plain(lambda v: v.date(1990)),
    "domain": _plain(Values.domain),
    "domain.camel": _camel_domain,
    "word.noun": _word("noun"),
    "word.verb": _word("verb"),
    "word.adverb": _word("adverb"),
    "word.adjective": _word("adjective"),
    "foreign_city": _plain(lambda v: v.faker(*LISTS["address_locales"]).city()),
    "faker_company": _plain(lambda v: v.faker(*LISTS["company_locales"]).company()),
    "faker_country": _plain(lambda v: v.faker("en_US").country()),
    "job": _plain(lambda v: v.faker("en_US").job().lower()),
    "code": _code,
    "code.hash": _plain(Values.hash),
    "code.uuid": _plain(Values.uuid),
    "code.tracking": _plain(Values.tracking),
    "street.crossing": _crossing,
    "number": _number,
    "coined": lambda scope: coined(scope.rng),
    # A family or given name that names no person here: half of a company, a place, a ship.
    "surname": lambda scope: Person(scope.rng).family,
    "given": lambda scope: Person(scope.rng).given,
    "fullname": lambda scope: Person(scope.rng).form("plain"),
    "famous": lambda scope: mark(scope.rng.choice(FAMOUS["famous"]), "NAME"),
    "character": lambda scope: mark(scope.rng.choice(FAMOUS["character"]), "NAME"),
    "famous_short": lambda scope: mark(scope.rng.choice(FAMOUS["short"]), "NAME"),
}
