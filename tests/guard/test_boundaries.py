"""The ends of values: written as `before[value]after`, the flagged tokens between bars."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.guard.boundaries import refine, trim


def refined(tokens: str, label: str = "NAME") -> str:
    """Refine `before|token|token|after`: all between the outer bars is flagged."""
    before, *flagged, after = tokens.split("|")
    text = before + "".join(flagged) + after
    start, end = len(before), len(text) - len(after)
    first_end, last_start = start + len(flagged[0]), end - len(flagged[-1])
    left, right = refine(text, start, end, label, first_end, last_start)
    return text[left:right]


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        # English: the space before, the possessive, punctuation
        ("saw| John's| dog", "John"),
        ("saw| John|'s| dog", "John"),
        ("saw| John’s| dog", "John"),
        ("the| Joneses'| house", "Joneses"),
        ("met| Mary| Jones|.", "Mary Jones"),
        ("met| Mary| Jones,|", "Mary Jones"),
        ("(|(Mary)|)", "Mary"),
        ("| O|'|Brien| came", "O'Brien"),
        ("O'|Brien| came", "O'Brien"),
        ("| Sammy| Davis| Jr.| sang", "Sammy Davis Jr."),
        ("| John| F.| K", "John F."),
        ("| Anne|-|Marie| K", "Anne-Marie"),
        # half a word is completed, in scripts that have words
        ("| Szöl|lössy said", "Szöllössy"),
        ("Krisz|tián| said", "Krisztián"),
        ("| Ива|нов сказал", "Иванов"),
        ("שמי ד|וד כה|ן", "דוד כהן"),
        # the number of a monarch, but not of a century
        ("|ルイ|14世は王", "ルイ14世"),
        ("|ヨハネ|・|パウロ|二世と", "ヨハネ・パウロ二世"),
        ("|イエス|1世紀の", "イエス"),
        # Japanese: a particle inside the last token
        ("|田中は|来た", "田中"),
        ("|田中|太郎が|来た", "田中太郎"),
        ("|ジョンの|本", "ジョン"),
        ("|Johnは|来た", "John"),
        ("|田中には|言った", "田中"),
        ("|田中です|。", "田中"),
        # ... which is not one where it is a token of its own, or the name goes on in kana
        ("|山本|こと|は|来た", "山本ことは"),
        ("|美空|ひばり|が", "美空ひばり"),
        ("|伊藤かな|が", "伊藤かな"),
        ("|高橋みなみ|が", "高橋みなみ"),
        ("|佐々木|が", "佐々木"),
        # honorifics, wherever the tokens end
        ("|田中さん|が", "田中"),
        ("|田中|さんの|本", "田中"),
        ("|あやちゃん|が", "あや"),
        ("|高橋みなみさん|が", "高橋みなみ"),
        ("|田中様|", "田中"),
        ("|山田先生に|は", "山田"),
        ("|佐藤選手|", "佐藤"),
        ("|鵜殿|が", "鵜殿"),
        ("|鈴木|部長|に", "鈴木"),
        ("|鈴木副社長は|", "鈴木"),
        ("|岸田|首相|が", "岸田"),
        ("|森部|長人|は", "森部長人"),
        ("福岡市長|谷川|さん", "谷川"),
        # a particle before, in the first token
        ("彼|と田中|が", "田中"),
        ("彼|はジョン|と", "ジョン"),
        ("|「田中」|", "田中"),
        ("| 田中 |", "田中"),
        # nothing left
        ("a| , |b", ""),
    ],
)
def test_names(tokens: str, name: str) -> None:
    assert refined(tokens) == name


@pytest.mark.parametrize(
    ("tokens", "label", "value"),
    [
        ("tel|090-12|34-5678.", "PHONE", "090-1234-5678"),
        ("call |+81 3|, ok", "PHONE", "+81 3"),
        ("call |(03) 1234|-5678", "PHONE", "(03) 1234-5678"),
        ("no |GB82W|EST1234。", "ID", "GB82WEST1234"),
        ("口座|１２３|４５６７です", "ID", "１２３４５６７"),
        ("生|1990年1|月2日生まれ", "DATE_OF_BIRTH", "1990年1月2日"),
        ("by |_dark|_knight_ !", "USERNAME", "_dark_knight_"),
        ("key |pa$$|w0rd!, ok", "SECRET", "pa$$w0rd!"),
        ("at |::1|, ", "IP", "::1"),
        ("Cookie: |session=|pa55w0rd;", "SECRET", "pa55w0rd"),
        ("|DB_PASSWORD='|hunter2|'", "SECRET", "hunter2"),
        ("set pass|word: |hunter|2=x.", "SECRET", "hunter2=x"),
        ("|abc=|def1 ", "SECRET", "abc=def1"),
        ("|token=| ", "SECRET", ""),
        ("at |12 Main| St.|", "ADDRESS", "12 Main St."),
    ],
)
def test_other_values(tokens: str, label: str, value: str) -> None:
    assert refined(tokens, label) == value


@given(st.text(), st.data(), st.sampled_from(["NAME", "PHONE", "ADDRESS", "SECRET", "OTHER"]))
def test_trimming_only_takes_away_what_is_no_letter_or_digit(
    text: str, data: st.DataObject, label: str
) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    left, right = trim(text, start, end, label)
    assert start <= left <= right <= end
    assert not any(c.isalnum() for c in text[start:left] + text[right:end])
