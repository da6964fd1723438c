"""What is found by form: every kind of value, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.guard import VALIDATORS, Span, validated
from endoscope.guard.spans import resolve
from endoscope.guard.validators import plain

LABELS = {validator.label for validator in VALIDATORS}
# Split, so that scanners of source code do not take these made-up keys for real ones.
GITHUB = "ghp" + "_" + "a1B2" * 9
JWT = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0" + ".c2lnbmF0dXJl"
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\nAbc+/=\n-----END RSA " + "PRIVATE KEY-----"


def found(text: str, *touched: Span) -> list[tuple[str, str]]:
    spans = resolve(validated(text, touched, LABELS))
    return [(text[s.start : s.end], s.label) for s in spans]


@pytest.mark.parametrize(
    ("before", "value", "after", "label"),
    [
        # e-mail addresses
        ("mail ", "mary.jones+x@mail.example.co.uk", ".", "EMAIL"),
        ("メールは", "taro@example.jp", "です", "EMAIL"),
        ("<", "a_b-c@example.com", ">", "EMAIL"),
        ("mailto:", "x@example.com", "?subject=hi", "EMAIL"),
        ("?email=", "x@example.com", "&y=1", "EMAIL"),
        ("'", "jürgen@müller.de", "'", "EMAIL"),
        ("", "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ", "", "EMAIL"),
        # IP addresses
        ("from ", "203.0.113.7", ":8080", "IP"),
        ("from ", "10.1.2.3", "/8", "IP"),
        ("ping ", "8.8.4.4", "", "IP"),
        ("サーバーは", "1.2.3.4", "です", "IP"),
        ("", "8.8.8.8", "", "IP"),
        ("connected from ", "1.2.3.4", " port 22", "IP"),
        ("We updated DNS to ", "8.8.8.8", "", "IP"),
        ("東京から", "9.9.9.9", "に", "IP"),
        ("host ", "2001:db8::ff00:42:8329", ".", "IP"),
        ("host ", "fe80::1", "", "IP"),
        ("接続元は", "１９８．５１．１００．７", "です", "IP"),
        # telephone numbers
        ("", "+44 20 7946 0958", ".", "PHONE"),
        ("", "020 7946 0958", "", "PHONE"),
        ("", "(212) 555-0123", "", "PHONE"),
        ("", "212-555-0123", " x", "PHONE"),
        ("", "03-3210-1234", "", "PHONE"),
        ("", "０９０－１２３４－５６７８", "まで", "PHONE"),
        ("", "03ー3210ー1234", "", "PHONE"),
        ("携帯は", "09012345678", "です", "PHONE"),
        ("", "+81-90-1234-5678", "", "PHONE"),
        ("please call ", "555 0199", " now", "PHONE"),
        ("tel: ", "060 123 4567", "", "PHONE"),
        ("call ", "(212) 555-0123 ext. 45", "", "PHONE"),
        # identifiers
        ("card ", "4111 1111 1111 1111", ".", "ID"),
        ("", "4111111111111111", "", "ID"),
        ("", "3782 822463 10005", "", "ID"),
        ("番号", "４１１１－１１１１－１１１１－１１１１", "", "ID"),
        ("IBAN ", "GB82 WEST 1234 5698 7654 32", " today", "ID"),
        ("", "DE89370400440532013000", "", "ID"),
        ("", "gb82west12345698765432", "", "ID"),
        ("SSN ", "536-90-4399", "", "ID"),
        ("SSN: ", "536904399", "", "ID"),
        ("マイナンバーは", "6214 9832 0257", "", "ID"),
        ("個人番号：", "621498320257", "", "ID"),
        ("運転免許証 ", "123456789012", "", "ID"),
        ("普通 口座番号 ", "1234567", "", "ID"),
        ("passport no. ", "TK1234567", "", "ID"),
        ("", "QQ 12 34 56 C".replace("QQ", "AB"), "", "ID"),
        ("NHS number ", "943 476 5870", "", "ID"),
        ("", "54362315K", "", "ID"),
        ("", "RCCMNL83S18D969H", "", "ID"),
        ("", "131052-308T", "", "ID"),
        ("", "390.533.447-05", "", "ID"),
        # secrets
        ("export X=", "AKIA" + "IOSFODNN7EXAMPLE", "", "SECRET"),
        ("token ", GITHUB, ",", "SECRET"),
        ("Bearer ", JWT, "\n", "SECRET"),
        ("key:\n", PEM, "\nbye", "SECRET"),
        ("", "xoxb-" + "123456789012-abcDEF", "", "SECRET"),
        ("", "sk_live_" + "a1b2c3d4e5f6", "", "SECRET"),
        ("", "AIza" + "Sy" + "A1b2C3d4" * 4 + "x", "", "SECRET"),
        ("password: ", "hunter2!x", "", "SECRET"),
        ("パスワードは「", "Kx9#mQ2", "」です", "SECRET"),
        ('"api_key": "', "9f8e7d6c5b4a", '"', "SECRET"),
        ("パスワード：\n初期パスワード：", "Kx9#mQ2", "", "SECRET"),
        ("password:\n", "abc123:", "", "SECRET"),
        ("暗証番号：", "4821", "です", "SECRET"),
        ("postgres://user:", "s3cr3tpw", "@db:5432/x", "SECRET"),
        # Japanese addresses
        ("住所：", "〒100-0014 東京都千代田区永田町1-7-1", "まで", "ADDRESS"),
        ("", "大阪府大阪市北区梅田三丁目1番3号", "に住む", "ADDRESS"),
        ("", "〒１００－００１４", "", "ADDRESS"),
        # US military addresses
        ("send it to ", "Unit 2050 Box 4190\nAPO AP 96278-2050", ".", "ADDRESS"),
        ("", "PSC 1234, Box 12\n> FPO AE 09498", "", "ADDRESS"),
        ("at ", "usns mercy\nfpo ap 96672", "?", "ADDRESS"),
    ],
)
def test_found_alone(before: str, value: str, after: str, label: str) -> None:
    assert found(before + value + after) == [(value, label)]


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4 is out",
        "build=4.12.0.3",
        "firmware v10.0.19.41",
        "バージョン 1.2.3.4",
        "version number 10.0.19.41, バージョン番号10.0.19.41, バージョンは10.0.19.41です",
        "built with 4.2.0.1, from 4.2.0.1 to 4.2.0.2",
        "updated from 4.2.0.1, the release is 4.2.0.2",
        "OID 1.3.6.1.4.1.311 and OID 1.3.6.1",
        "localhost 127.0.0.1, mask 255.255.255.0",
        "std::vector a::b, 12:30:45, 00:1A:2B:3C:4D:5E",
        "ISBN 978-4-06-519981-7, ISBN 0-306-40615-2",
        "JAN 4901234567894 と 4512345678906",
        "order 4111-1111-1111-1112",  # wrong check digit
        "order no. 2023-0115-000123",
        "invoice 0312345678, 123456789012",
        "total $1,234,567.89 or 12,345,678円 or ¥1234567",
        "2023-01-15 10:20:30, 15/01/2023, 20230115",
        "product code ABC-1234-5678, SKU 00123456789",
        "tracking 1234 5678 9012",
        "icon@2x.png and git@github.com:a/b and @override",
        "user@localhost",
        "GB00 WEST 1234 5698 7654 32",
        "000-12-3456 and 666-12-3456",
        "password: required, password is incorrect, api_key=<your key>, token: ${TOKEN}",
        "password=********",
        "パスワード：\nログインID：",
        "パスワード：\nログインID：taro\n",
        "Password:\nUser-Name:\n",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "eyJ.not.a.token",
        "東京都港区の人口は約26万人、国道121号、大阪府大阪市",
        "3.14159265358979 and 1e10 and 0x7fffffff",
        "the 1990-1995 season, 10-12-14",
        "〒マーク",
    ],
)
def test_not_found(text: str) -> None:
    assert found(text) == []


def test_a_shape_only_completes_what_the_probe_touched() -> None:
    text = "ring 78 651 450 or 12 651 450, born 2 Mar 1984, not 3 Mar 1985"
    text = text.replace("ring", "at")
    assert found(text) == []
    half_number = Span(text.index("651"), text.index("651") + 3, "PHONE", 0.7)
    half_date = Span(text.index("1984"), text.index("1984") + 4, "DATE_OF_BIRTH", 0.8)
    assert found(text, half_number, half_date) == [
        ("78 651 450", "PHONE"),
        ("2 Mar 1984", "DATE_OF_BIRTH"),
    ]
    assert found(text, half_number._replace(label="NAME")) == []
    scores = {s.score for s in validated(text, [half_number, half_date], LABELS)}
    assert scores == {0.7, 0.8}


def test_an_address_of_single_digits_is_found_where_the_probe_sees_one() -> None:
    text = "released: see 1.2.3.4 there"
    assert found(text) == []
    assert found(text, Span(16, 17, "IP", 0.9)) == [("1.2.3.4", "IP")]


def test_only_the_labels_that_are_wanted() -> None:
    assert validated("x@example.com 203.0.113.7", [], {"IP"}) == [Span(14, 25, "IP", 1.0)]


@given(st.text())
def test_plain_text_has_the_same_offsets(text: str) -> None:
    assert len(plain(text)) == len(text)
    assert plain("Ａ１－２ー３カー") == "A1-2-3カー"


FRAGMENTS = st.sampled_from(
    [
        *("0", "1", "12", "1234", "4111111111111111", "AB", "GB82", "a", "Z", "e\u0301", "é"),
        *("-", ".", ":", "@", "::", "/", "(", ")", "+", "[", "<", "=", " ", "\n", "\ud800", "\0"),
        *("〒", "〒100-0001", "ー", "１", "٣", "²", "東京都", "市", "年", "月", "日", "19 Jan"),
        *("x@y.zz", "eyJ", "password:", "token=", "-----BEGIN PRIVATE KEY-----"),
    ]
)


@given(st.lists(FRAGMENTS | st.text(max_size=4), max_size=30).map("".join))
def test_no_text_breaks_a_validator_and_spans_lie_inside(text: str) -> None:
    for span in validated(text, [], LABELS):
        assert 0 <= span.start < span.end <= len(text)
        assert span.score == 1.0


@pytest.mark.parametrize(
    "piece",
    ["1", "1-", "a@", "AB12 ", "東京都港区", "a:", "password:", "(1", PEM, PEM.split("\n")[0]],
)
def test_a_value_behind_a_quarter_megabyte_without_a_break(piece: str) -> None:
    """Quadratic work would take hours here."""
    text = piece * (250_000 // len(piece)) + " mary@example.com"
    [email] = validated(text, [], {"EMAIL"})
    assert email[:2] == (len(text) - 16, len(text))
    assert email in validated(text, [], LABELS)


@pytest.mark.parametrize(
    "corner", ["the corner of Elm St. and Old Mill Road", "corner of A1 & Via Po"]
)
def test_a_street_corner_completes_an_address(corner: str) -> None:
    text = f"Stop at {corner}, then wait."
    start = text.index("of") + 3
    touched = [Span(start, start + 3, "ADDRESS", 0.7)]
    (whole,) = validated(text, touched, {"ADDRESS"})
    assert text[whole.start : whole.end] == corner
    assert whole.score == 0.7
    assert validated(text, [], {"ADDRESS"}) == []
