"""Postal addresses of the few kinds that are regular enough to find by form."""

import regex

from endoscope.guard.validators.base import Pattern, Validator

_POSTCODE = r"〒 ?\d{3}-?\d{4}"
_PREFECTURE = (
    r"(?:東京都|北海道|京都府|大阪府|(?:青森|岩手|宮城|秋田|山形|福島|茨城|栃木|群馬|埼玉|千葉|神奈川|新潟"
    r"|富山|石川|福井|山梨|長野|岐阜|静岡|愛知|三重|滋賀|兵庫|奈良|和歌山|鳥取|島根|岡山|広島|山口|徳島"
    r"|香川|愛媛|高知|福岡|佐賀|長崎|熊本|大分|宮崎|鹿児島|沖縄)県)"
)
_BLOCK = r"\d{1,4}(?:(?:丁目|番地?|号|-|の)\d{1,4}){0,4}(?:丁目|番地?|号|号室)?"
# Prefecture, municipality, and a block number: without the number it is a place, not an address.
_ADDRESS = (
    rf"{_PREFECTURE}[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}ヶケノ]{{1,12}}?[市区町村郡]"
    rf"[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}ー]{{0,24}}?(?:\d{{1,3}}条)?(?<![国県都府道]道){_BLOCK}(?<=丁目|番|番地|号|号室|-\d{{1,4}})"
)
# USPS Publication 28, section 225: a unit with a box, or a ship, then the letters of its office.
_SHIP = r"us(?:ns|s|cgc) [\p{L}'\-]{2,30}(?: [\p{L}'\-]{2,30})?"
_MILITARY = (
    rf"(?<!\w)(?:(?:psc|cmr|unit) \d{{1,6}}(?:,? box \d{{1,6}})?|{_SHIP})"
    r"[\s,>|]{1,6}[adf]po,? a[aep] \d{5}(?:-\d{4})?(?!\w)"
)
_STREET = r"\p{Lu}[\p{L}\p{M}'’.\-]{1,30}(?: \p{Lu}[\p{L}\p{M}'’.\-]{1,30}){0,3}"

PLACES: tuple[Validator, ...] = (
    Pattern(
        "Japanese address",
        "ADDRESS",
        regex.compile(rf"(?:{_POSTCODE}\s{{0,2}})?{_ADDRESS}(?![年月日円万人個件回台])"),
    ),
    Pattern("US military address", "ADDRESS", regex.compile(_MILITARY, regex.IGNORECASE)),
    Pattern(
        "street corner",
        "ADDRESS",
        regex.compile(rf"(?:the )?corner of [^\n,;:!?]{{2,60}}? (?:and|&) {_STREET}(?<![.])"),
        sure=False,
    ),
    Pattern("Japanese postcode", "ADDRESS", regex.compile(rf"{_POSTCODE}(?!\d)")),
)
