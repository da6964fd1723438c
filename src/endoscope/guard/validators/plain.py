"""Text as validators read it: the same length, with plain digits, letters and hyphens."""

from unicodedata import normalize

import regex

# Full-width forms, mathematical digits and letters, and spaces of other widths. Only characters
# whose NFKC form is a single character: the result has the offsets of the original.
_RANGES = (range(0xFF01, 0xFFE7), range(0x1D400, 0x1D800), (0x00A0, 0x2007, 0x2011, 0x202F, 0x3000))
_PLAIN = {
    code: form
    for codes in _RANGES
    for code in codes
    if len(form := normalize("NFKC", chr(code))) == 1
}
# What people type for a hyphen; ー is also a letter of katakana, so only between digits.
HYPHENS = "‐‒–—―−ー─"
_HYPHEN = regex.compile(rf"(?<=[0-9)])[{HYPHENS}](?=[0-9(])")


def plain(text: str) -> str:
    """Return `text` with full-width and styled characters as plain ones, offset for offset."""
    if text.isascii():
        return text
    return _HYPHEN.sub("-", text.translate(_PLAIN))
