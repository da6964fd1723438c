"""Where a span ends inside a token.

A probe decides token by token, but tokens do not respect names: `John's`, `さんの` and `田中は` can
each be one token. The rules here work on characters, after the probe:

* a value goes on to the end of its word (a name in a script with spaces, a number, a user name),
  so that half a word is never left behind;
* white space and punctuation at its ends do not belong to it, unless the type of value says so
  (`(03) 1234-5678`, `Sammy Davis Jr.`);
* a name loses an English possessive and a Japanese honorific or title;
* the name of a field that was taken with its secret is none of it (`session=|…`, `password: |…`);
* the number of a monarch belongs to the name (`ルイ|14世`);
* a Japanese particle is taken off a name where the script changes (`田中|は`, `ジョン|が`) and the
  change lies *inside* the last token. Where the particle is a token of its own the probe has
  decided already, and its decision stands: many given names end in a particle (`ことは`, `まさと`).
"""

from unicodedata import category

import regex

# Words of these scripts stand between spaces and take no particles, so a name ends where they end.
# In Hebrew and Arabic a preposition may be one word with the name: it goes with it.
SPACED = (
    r"\p{Latin}\p{Greek}\p{Cyrillic}\p{Armenian}\p{Georgian}\p{Hebrew}\p{Arabic}\p{Ethiopic}"
    r"\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}"
    r"\p{M}"
)
_WORD = rf"[{SPACED}'’]"
_NUMBER = r"[0-9０-９\-‐‑–−－ー.()+/]"
_CLASSES = {
    "NAME": _WORD,
    "ADDRESS": rf"[{SPACED}'’0-9０-９\-‐−－]",
    "PHONE": _NUMBER,
    "ID": r"[A-Za-z0-9Ａ-Ｚａ-ｚ０-９\-－]",
    "DATE_OF_BIRTH": r"[A-Za-z0-9０-９\-/.－/．年月日]",
    "USERNAME": r"[A-Za-z0-9_.\-]",
    "SECRET": r"[!#-&*+\-./0-9:=?@A-Z^_a-z|~]",
}
_LONGEST_WORD = 256  # bounds the work on text without a break
_BELONGS = {label: regex.compile(chars) for label, chars in _CLASSES.items()}
_BEFORE, _AFTER = (
    {
        label: regex.compile(f"{way}{chars}{{0,{_LONGEST_WORD}}}")
        for label, chars in _CLASSES.items()
    }
    for way in ("(?r)", "")
)
# Only names that surely name a secret: `abc=1x` may be a password with a sign in it.
_FIELD = regex.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9_\-]{0,32}?"
    r"(?:session|sid|jsessionid|token|password|passwd|pwd|passphrase|secret|api_?key|apikey|auth)"
    r"(?:[_\-]?(?:id|key|token))?[\"']?\s?[=:]\s?[\"']?",
    regex.IGNORECASE,
)

_OPENERS, _CLOSERS = "([{（［｛「『【〔〈《“‘", ")]}）］｝」』】〕〉》”’"
_KEPT_FIRST = {"PHONE": "+＋", "USERNAME": "_", "ADDRESS": "#＃〒"}
_KEPT_LAST = {"USERNAME": "_", "ADDRESS": "."}
_ABBREVIATION = regex.compile(r"(?:^|[\s.,])(?:\p{Lu}|Jr|Sr)\.$")

_POSSESSIVE = regex.compile(r"(?<=[\p{L}\p{M}.])['’＇][sS]$|(?<=[sSzZ])['’]$")
_TITLES = (
    "先生|先輩|選手|投手|監督|容疑者|被告|夫妻|夫人"
    "|[准助]?教授|教諭|講師|医師|弁護士|記者|議員|大統領|首相|総理|大臣|長官|知事|専務|常務|取締役|主任"
    "|副?(?:社長|会長|部長|課長|係長|次長|室長|局長|所長|店長|校長|院長|市長|議長)"
)
_HONORIFICS = f"さん|さま|ちゃん|くん|様|氏|殿|君|せんせい|博士|{_TITLES}"
# Single particles, the pairs that are common after a name, and the copula. か, な, や, ね, よ and
# doubled particles are left out: they end given names (伊藤かな, 佐藤もも) more often.
_PARTICLES = (
    "には|にも|とは|との|では|での|でも|への|からの|からは|までの|から|まで|より|など|だけ|って"
    "|という|として|による|について|らしい|である|でした|だった|です|だ"
    "|(?:ら|たち)[はがをにのともへで]?|[はがをにのともへで]"
)
_TITLE, _LONGEST_TITLE = regex.compile(_TITLES), 4
_HONORIFIC_TAIL = regex.compile(rf"(?:{_HONORIFICS})(?:{_PARTICLES})*$")
_PARTICLE_TAIL = regex.compile(rf"(?<=[^\p{{Hiragana}}\s])(?:{_PARTICLES})$")
_LEADING_PARTICLE = regex.compile(r"[はがをにのともへでや](?=[\p{Han}\p{Katakana}])")
_LONGEST_TAIL = 16
_LONGEST_REGNAL = 5  # with the character after it
_REGNAL = regex.compile(r"[0-9０-９一二三四五六七八九十]{1,3}世(?!紀)")


def refine(
    text: str, start: int, end: int, label: str, first_token_end: int, last_token_start: int
) -> tuple[int, int]:
    """Move the ends of a span to where the value begins and ends.

    Args:
        text: the text.
        start: first character of the first flagged token.
        end: end of the last flagged token, exclusive.
        label: what the probe says it is.
        first_token_end: end of the first flagged token.
        last_token_start: start of the last flagged token.

    Returns:
        The new start and end; equal if nothing of a value is left.
    """
    start, end = trim(text, start, end, label)
    if start == end:
        return start, end
    start, end = trim(text, *_complete(text, start, end, label), label)
    if label == "SECRET" and (field := _FIELD.match(text, start, end)):
        start, end = trim(text, field.end(), end, label)
    if label == "NAME":
        if first_token_end > start + 1 and _LEADING_PARTICLE.match(text, start, end):
            start += 1
        end = _name_end(text, start, end, last_token_start)
        start, end = trim(text, start, end, label)
        if regnal := _REGNAL.match(text, end):
            end = regnal.end()
    return start, end


def trim(text: str, start: int, end: int, label: str) -> tuple[int, int]:
    """Take white space and punctuation off both ends, except what belongs to a `label`."""
    while start < end and _loose_first(text, start, end, label):
        start += 1
    while start < end and _loose_last(text, start, end, label):
        end -= 1
    return start, end


def _loose_first(text: str, start: int, end: int, label: str) -> bool:
    char = text[start]
    if char.isalnum() or char in _KEPT_FIRST.get(label, ""):
        return False
    if label == "IP" and text.startswith("::", start):  # leading zeros of an IPv6 address
        return False
    if char in _OPENERS:
        closer = text.find(_CLOSERS[_OPENERS.index(char)], start, min(end, start + _LONGEST_WORD))
        return closer < 0 or closer == end - 1
    return _punctuation(char, label) or category(char)[0] == "M"  # an accent of what is outside


def _loose_last(text: str, start: int, end: int, label: str) -> bool:
    char = text[end - 1]
    if char.isalnum() or char in _KEPT_LAST.get(label, ""):
        return False
    if char in _CLOSERS:
        return _OPENERS[_CLOSERS.index(char)] not in text[max(start, end - _LONGEST_WORD) : end - 1]
    if label == "NAME" and _ABBREVIATION.search(text, max(start, end - 4), end):
        return False
    return _punctuation(char, label)


def _punctuation(char: str, label: str) -> bool:
    """Whether a character that is no letter or digit cannot be an end of a `label`."""
    if label == "SECRET":  # a password may end in almost anything
        return char.isspace() or char in "\"'`,;.、。"
    return category(char)[0] in "PSZC"


def first_reached(text: str, place: int, label: str) -> int:
    """Return the first character of any span that begins with a token at `place` or after it."""
    belongs = _BELONGS.get(label)
    if belongs is None or (place < len(text) and not belongs.match(text, place)):
        return place
    before = _BEFORE[label].match(text, 0, place)
    return int(before.start()) if before else place


def is_known(text: str, end: int, label: str) -> bool:
    """Whether so much of a text is known that more does not move the end of a span.

    Args:
        text: the text so far.
        end: end of the last flagged token.
        label: what the probe says it is.
    """
    if label in _AFTER and (after := _AFTER[label].match(text, end)):
        end = int(after.end())
    # The number of a monarch, and a title around a name.
    return end + (_LONGEST_REGNAL + _LONGEST_TITLE if label == "NAME" else 0) < len(text)


def _complete(text: str, start: int, end: int, label: str) -> tuple[int, int]:
    """Extend to the ends of the words that the span begins and ends in."""
    belongs = _BELONGS.get(label)
    if belongs is None:
        return start, end
    floor, ceiling = max(0, start - _LONGEST_WORD), min(len(text), end + _LONGEST_WORD)
    if belongs.match(text, start):
        while start > floor and belongs.match(text, start - 1):
            start -= 1
    if belongs.match(text, end - 1):
        while end < ceiling and belongs.match(text, end):
            end += 1
    return start, end


def within_title(text: str, start: int, end: int) -> bool:
    """Whether what a probe takes for a name is a Japanese title, or a part of one (佐藤係|長)."""
    around = max(0, start - _LONGEST_TITLE), end + _LONGEST_TITLE
    titles = _TITLE.finditer(text, *around) if end - start <= _LONGEST_TITLE else ()
    return any(title.start() <= start and end <= title.end() for title in titles)


def _name_end(text: str, start: int, end: int, last_token_start: int) -> int:
    """End of a name without possessive, honorific and particle."""
    floor = max(start, end - _LONGEST_TAIL)
    if found := _POSSESSIVE.search(text, floor, end):
        return int(found.start())
    honorific = _HONORIFIC_TAIL.search(text, floor, end)
    # One-character names are not left over: 鵜殿 is a name, not 鵜 with a title.
    if honorific and honorific.start() - start >= 2:
        return int(honorific.start())
    particle = _PARTICLE_TAIL.search(text, floor, end)
    if particle and particle.start() > max(start, last_token_start):
        return int(particle.start())
    return end
