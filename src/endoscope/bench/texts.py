"""Texts to measure with: our own, the same on every machine."""

from random import Random

_SUBJECTS = (
    "the old harbour",
    "a travelling musician",
    "the second report",
    "every careful reader",
    "our neighbour's garden",
    "the committee",
    "a small engine",
    "the northern railway",
    "that stubborn question",
    "the museum's night guard",
)
_VERBS = (
    "remembers",
    "quietly replaces",
    "never quite explains",
    "was built beside",
    "depends on",
    "had been waiting for",
    "gives shape to",
    "cannot do without",
    "borrowed from",
    "outlived",
)
_OBJECTS = (
    "a wooden bridge",
    "the price of bread",
    "seventeen unpublished letters",
    "the last warm days of autumn",
    "an argument about maps",
    "the sound of rain on tin",
    "a method for drying apples",
    "what the surveyors left behind",
    "two kinds of blue glass",
    "the first telephone exchange",
)
_TURNS = (
    "although nobody had asked",
    "as far as the records show",
    "long before the road was paved",
    "which surprised the visitors",
    "and for good reason",
    "at least on weekdays",
)


def prose(count: int, *, shortest: int = 7, longest: int = 195, seed: int = 0) -> list[str]:
    """Return English texts without any data about people.

    Args:
        count: how many.
        shortest: words of the shortest.
        longest: words of the longest; the others lie evenly between, in random order. As tokens of
            the embedded models the default is about 8 to 256.
        seed: of the choice of words.
    """
    random = Random(seed)
    step = (longest - shortest) / max(1, count - 1)
    lengths = [round(shortest + step * index) for index in range(count)]
    random.shuffle(lengths)
    return [_text(length, random) for length in lengths]


def _text(words: int, random: Random) -> str:
    text: list[str] = []
    while len(text) < words:
        text += _sentence(random).split()
    return " ".join(text[:words])


def _sentence(random: Random) -> str:
    core = f"{random.choice(_SUBJECTS)} {random.choice(_VERBS)} {random.choice(_OBJECTS)}"
    if random.random() < 0.5:
        core = f"{core}, {random.choice(_TURNS)}"
    return f"{core[0].upper()}{core[1:]}."


# Made-up people; numbers and addresses from the ranges that are kept for examples.
_NAMES = {
    "en": (
        *("Harriet Blome", "Tunde Adeyemi", "Marta Kowalczyk", "J. P. Rourke", "Wei Zhang"),
        *("Dolores Whitcombe", "Ahmed El-Sayed", "Siobhan Keane", "Lars Nyqvist", "Ines Duarte"),
    ),
    "ja": (
        *("佐々木遥", "中村 健一", "藤原", "長谷川めぐみ", "山口さくら"),
        *("エミリー・クラーク", "大野拓也", "石井", "小林 真由美", "金城直樹"),
    ),
}
_CONTACTS = {
    "en": ("020 7946 0958", "+1 202 555 0143", "h.blome@example.org", "198.51.100.23"),
    "ja": ("03-5550-0199", "090-0000-1234", "h.sasaki@example.jp", "192.0.2.41"),
}
_PERSONAL = {
    "en": (
        "{name} wrote back the same evening and asked for the minutes.",
        "You can reach {name} at {contact} until Friday.",
        "According to {name}, the bridge will reopen in spring.",
        "The parcel for {name} came back, so please call {contact} first.",
        "The room was quiet; only the heating could be heard.",
        "Prices in the market rose by three per cent over the summer.",
        "In the second half, {name} passed to {other}, who scored.",
    ),
    "ja": (
        "{name}さんはその日の夕方に返信し、議事録を求めた。",
        "{name}様のご連絡先は{contact}です。",
        "{name}によると、橋は春に再開通するという。",
        "担当の{name}が不在のため、{contact}までお電話ください。",
        "部屋は静かで、暖房の音だけが聞こえていた。",
        "市場の物価は夏のあいだに三パーセント上がった。",
        "後半、{name}からのパスを{other}が決めた。",
    ),
}


def personal(language: str, count: int, *, seed: int = 0) -> list[str]:
    """Return texts with data about made-up people, of one to five sentences.

    Args:
        language: `en` or `ja`.
        count: how many.
        seed: of the choice of sentences.
    """
    random = Random(seed)
    gap = " " if language == "en" else ""
    return [
        gap.join(_about_people(language, random) for _ in range(random.randint(1, 5)))
        for _ in range(count)
    ]


def _about_people(language: str, random: Random) -> str:
    name, other = random.sample(_NAMES[language], 2)
    contact = random.choice(_CONTACTS[language])
    return random.choice(_PERSONAL[language]).format(name=name, other=other, contact=contact)
