"""What was found once is found again, and nothing else."""

import pytest

from endoscope.guard import Span
from endoscope.server.proxy.marks import document_text, replace
from endoscope.server.proxy.parts import Leaf
from endoscope.server.proxy.placeholders import Form
from endoscope.server.proxy.spread import Folded, Known, spread
from endoscope.server.proxy.vault import Vault


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        ("Mary Jones", "mary  jones, MARY\nJONES; Mary Jonesson", ["mary  jones", "MARY\nJONES"]),
        ("Will", "Will will, WILL", ["Will"]),
        ("Will", "Ｗｉｌｌ? Willy; William", ["Ｗｉｌｌ"]),
        ("Jo", "Jo Jones jo Jo's", ["Jo", "Jo"]),
        ("José", "Jose\u0301 José", ["Jose\u0301", "José"]),
        ("田中", "田中さんと田中商店", ["田中", "田中"]),
        ("林", "森林", []),
        ("ジョン", "ジョンソンとジョンと｜ｼﾞｮﾝ", ["ジョン", "ｼﾞｮﾝ"]),
        ("まり", "あまり。まりは", ["まり"]),
        ("123", "123", []),
        ("12345", "12345 123456 A12345 №12345", ["12345", "12345"]),
        ("020 7946 0958", "020 7946 0958, 020  7946 0958", ["020 7946 0958", "020  7946 0958"]),
        ("Straße", "STRASSE Straße", ["Straße"]),
    ],
)
def test_where_a_value_stands(value: str, text: str, found: list[str]) -> None:
    (places,) = spread([Known(value, "NAME", False)], [text])
    assert [text[start:end] for start, end, _ in places] == found


def test_a_secret_is_itself_alone() -> None:
    text = "Hunter 2x, hunter 2x"
    assert spread([Known("hunter 2x", "SECRET", True)], [text]) == [[(11, 20, "SECRET")]]


def test_whole_characters_are_found() -> None:
    assert list(Folded(["x", "ae\u0301b"]).find("é")) == [(1, 1, 3)]


def test_a_value_is_in_one_text_alone() -> None:
    known = [Known("a b", "NAME", False), Known("c d", "NAME", False)]
    assert spread(known, ["x a", "b c", "", "c d a B"]) == [
        [],
        [],
        [],
        [(4, 7, "NAME"), (0, 3, "NAME")],
    ]


def test_a_span_over_several_leaves_is_cut_at_their_ends() -> None:
    vault = Vault(Form({"ADDRESS", "NAME"}))
    leaves = [
        Leaf("12 High Street", "a"),
        Leaf("Leeds", "b", after=": "),
        Leaf("", "c"),
        Leaf("x", "d"),
    ]
    text = document_text(leaves)
    assert text == "12 High Street\nLeeds: \nx\n"
    counts = replace([leaves], {text: [Span(3, 20, "ADDRESS", 1.0)]}, vault)
    assert [leaf.sent for leaf in leaves] == ["12 [ADDRESS_1]", "[ADDRESS_2]", "", "x"]
    assert counts == {"ADDRESS": 2}


def test_what_overlaps_is_one_value() -> None:
    vault = Vault(Form({"ADDRESS", "NAME"}))
    first, second = Leaf("Mary Jones", "a"), Leaf("Dr Mary Jones [NAME_1]", "b")
    found = {"Mary Jones\n": [Span(0, 10, "NAME", 1)]}
    found["Dr Mary Jones [NAME_1]\n"] = [Span(0, 7, "ADDRESS", 1), Span(12, 17, "NAME", 1)]
    replace([[first], [second]], found, vault)
    assert first.sent == "[NAME_1]"
    assert second.sent == "[NAME_2]"
    assert vault.value("[NAME_2]") == "Dr Mary Jones [NAME_1]"
