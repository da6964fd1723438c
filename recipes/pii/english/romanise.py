"""Spells names of other scripts in Latin letters, the way passports and newspapers do, roughly."""

from __future__ import annotations

import unicodedata

from recipes.pii.words import words

ALPHABETS = words("english/grammar/alphabets")
LETTERS: dict[str, str] = {
    letter: latin.strip("_")
    for script in ("cyrillic", "greek", "georgian", "armenian")
    for letter, latin in (pair.split("=") for pair in ALPHABETS[script])
}
SYLLABLE = tuple(ALPHABETS[part] for part in ("hangul_first", "hangul_vowel", "hangul_last"))


def romanise(name: str) -> str:
    """The name in Latin letters; what is Latin already stays, accents included."""
    out = []
    for letter in name.lower():
        code = ord(letter) - 0xAC00
        if 0 <= code < 11172:
            jamo = (code // 588, code // 28 % 21, code % 28)
            out.append("".join(t[i].strip("_") for t, i in zip(SYLLABLE, jamo, strict=True)))
        else:
            base = letter if letter in LETTERS else unicodedata.normalize("NFD", letter)[0]
            out.append(LETTERS.get(base, letter))
    text = "".join(out)
    return name if text == name.lower() else text.title()
