"""Words right before a value that say that it is no such value."""

import regex

_REACH = 40  # characters
_NUMBER = r"\s?(?:numbers?|no\.?|num\.?|id|code|ref(?:erence)?)"
_SAYS = r"[】」』）)\]]?\s?(?:[:：=#＃]|\b(?:is|was)\b|は|が)"
# Numbers that a business gives to things that it sells, sends or answers, not to people. The bare
# word is not enough: a money order, a part of an answer, a ticket for somebody.
_BUSINESS = (
    r"\b(?:order|invoice|ticket|tracking|shipment|parcel|part|product|serial)\b"
    rf"(?:{_NUMBER}(?:{_SAYS})?|{_SAYS})"
    r"|(?:(?:注文|発注|伝票|受付|問い?合わ?せ|追跡|送り状|請求書?|見積書?|チケット|製造|製品|商品)"
    rf"(?:番号|コード|ID|No\.?)|[型品]番)(?:{_SAYS}|[】」』）)\]])?"
)
_OTHERWISE = {"ID": regex.compile(rf"(?:{_BUSINESS})\s?$", regex.IGNORECASE)}


def named_otherwise(text: str, start: int, label: str) -> bool:
    """Whether what stands before a value gives it a name that no value of its label has.

    Args:
        text: the text.
        start: where the value starts.
        label: what the probe says it is.
    """
    other = _OTHERWISE.get(label)
    return other is not None and other.search(text, max(0, start - _REACH), start) is not None
